"""The names that sections, figures and tables bear, in the languages of most papers, and the labels beside titles.

They tell what a heading is, where a list of references starts and ends, and of which sections a chunk is worth no question.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

__all__ = [
    "BACK_MATTER",
    "BEHIND_REFERENCES",
    "FLOATS",
    "LABEL",
    "REFERENCE_HEADINGS",
    "back_matter",
    "is_section_name",
    "name_before_text",
]

_LEADING_NUMBER = re.compile(
    r"^(?:第\s*[\d一二三四五六七八九十]{1,3}\s*[章节節部]|\d{1,2}(?:\.\d{1,2})*|[A-H](?:\.\d{1,2})*|[IVX]{1,5})[.:)]?\s+"
)
BACK_MATTER = {
    "acknowledgements": r"acknowledge?ments?( and (funding|disclosures?))?|"
    r"danksagung|remerciements|agradecimientos|agradecimentos|ringraziamenti|благодарности|致谢|致謝|謝辞",
    "funding": r"funding( statement| sources?| information)?|financial (support( and sponsorship)?|disclosures?)|grant support|"
    r"sources? of funding|"
    r"förderung|finanzierung|financements?|financiación|financiamiento|financiamento|finanziament[oi]|финансирование|基金项目|資金",
    "author contributions": r"(author|authors['’]|credit author(ship)?) ?contributions?( statement)?|contributors|"
    r"credit authorship contribution statement|"
    r"autorenbeiträge|beiträge der autoren|contributions? des auteurs|contribuci(ón|ones) de los autores|contribuiç(ão|ões) dos autores|contribut[oi] degli autori|вклад авторов|作者贡献(声明)?|著者貢献",
    "competing interests": r"(potential |declaration of )?conflicts? of interests?( statement| disclosures?)?|"
    r"(declarations? of )?competing (financial )?interests?( statement)?|declarations?( of interests?)?|disclosures?( statement)?|"
    r"interessenkonflikte?|conflits? d['’]intérêts?|conflictos? de intere?ses?|conflitos? de interesses?|conflitt[oi] (d['’]|di )interess[ei]|конфликт интересов|利益冲突(声明)?|利益相反",
    "ethics": r"(research )?ethic(s|al)( (statement|approval|considerations?|declarations?))?"
    r"( and (informed )?consent( to participate)?)?|institutional review board statement|informed consent( statement)?|"
    r"consent (for publication|to participate)|"
    r"ethik(erklärung|votum)?|éthique|(consideraciones|aspectos) étic[oa]s|considerações éticas|etica|этика|伦理声明|倫理的配慮",
    "data availability": r"data (and (code|materials?) )?(availability|accessibility)( statement)?|code availability|"
    r"availability of (supporting )?data( and materials?)?|"
    r"datenverfügbarkeit|disponibilité des données|disponibilidad de (los )?datos|disponibilidade (de|dos) dados|disponibilità dei dati|доступность данных|数据可用性(声明)?|データの利用可能性",
    "supplementary material": r"additional (information|files)|(electronic )?supplement(ary|al) (materials?|information|data)|"
    r"supporting information|"
    r"zusatzmaterial|ergänzende materialien|matériel supplémentaire|material suplementario|material suplementar|materiale supplementare|дополнительные материалы|补充材料|附加材料",
    "abbreviations": r"(list of )?abbreviations|"
    r"abkürzung(en|sverzeichnis)|(liste des )?abréviations|abreviaturas|abreviações|abbreviazioni|(список )?сокращени[йя]|缩略语|略語",
    "contents": r"(table of )?contents|list of (figures|tables|symbols|publications)|"
    r"inhalt(sverzeichnis)?|(abbildungs|tabellen)verzeichnis|table des matières|sommaire|índice( general)?|contenido|sumário|indice|((índice|lista) de|liste des) (figuras|tablas|tabelas|figures|tableaux)|содержание|оглавление|[图表図]?目[录錄次]|(图形|表格|符号)列表",
    "checklist": r"((reporting|submission|paper|neurips paper|reproducibility) )?checklist|reporting summary",
    "references": r"references( and notes)?|bibliography|literature cited|works cited",
    "about the authors": r"about the authors?|authors?['’]? (information|details|biograph(y|ies))|biograph(y|ies)|orcid( ids?)?|"
    r"über (den autor|die autoren)|zu den autoren|à propos des auteurs|sobre (el autor|los autores|os autores)|sugli autori|об авторах|作者简[介历].{0,30}|著者紹介|著者略歴",
    "publisher's note": r"publisher['’]s note|how to cite this article|rights and permissions|"
    r"peer review( information| file)?|provenance and peer review",
}
"""What a paper says beside its subject, by kind: thanks, duties, lists; a pattern of the names that such sections bear."""

_BACK = "|".join(BACK_MATTER.values())
_MAIN = (
    r"abstract|summary|highlights|background|introduction|preface|foreword|motivation|overview|"
    r"(related|previous|prior) works?|literature review|theory|theoretical background|preliminaries|notations?|"
    r"(materials?|subjects?|patients?|participants) (and|&) methods?|(study )?methods?( and materials?)?|methodology|"
    r"experiments?|experimental( section| methods| setup| results| procedures?)?|evaluation|implementation|case study|"
    r"(experimental )?results?( (and|&) (discussions?|conclusions?))?|findings|(data |statistical )?analys[ie]s|discussions?( and conclusions?)?|"
    r"(concluding|final) remarks|conclusions?( and (future work|outlook|discussion|perspectives?))?|"
    r"limitations?( of the study)?|future (work|directions|prospects)|outlook|appendix|appendices|glossary|nomenclature|"
    r"zusammenfassung|kurzfassung|einleitung|einführung|grundlagen|stand der (technik|forschung)|verwandte arbeiten|method(en|ik)|"
    r"material(ien)? und methoden|ergebnisse( und diskussion)?|diskussion|auswertung|fazit|ausblick|schlussfolgerung(en)?|anhang|vorwort|"
    r"résumé|état de l['’]art|méthodes?|matériels? et méthodes|résultats( et discussion)?|annexes?|avant-propos|"
    r"resumen|introducción|antecedentes|métodos?|metodología|materiales y métodos|resultados( y discusión)?|discusión|conclusi(ón|ones)|"
    r"anexos?|apéndices?|resumo|introdução|metodologia|materia(l|is) e métodos|resultados e discussão|discussão|conclus(ão|ões)|"
    r"considerações finais|riassunto|sommario|introduzione|metod[io]|materiali e metodi|risultati( e discussione)?|discussione|conclusion[ei]|"
    r"appendice|аннотация|введение|(материалы и )?методы|результаты( и обсуждение)?|обсуждение|заключение|выводы|приложени[ея]|"
    r"摘要|绪论|緒論|引言|前言|研究背景|相关工作|研究方法|实验(结果)?|结果(与讨论|与分析)?|讨论|结论|总结(与展望)?|附录|"
    r"要旨|概要|はじめに|序論|序章|背景|関連研究|(提案)?手法|実験(結果)?|評価|結果(と考察)?|考察|結論|おわりに|まとめ|今後の課題|付録"
)
REFERENCE_HEADINGS = frozenset(
    "references reference referencesandnotes notesandreferences referencesandfurtherreading referencescited citedreferences "
    "referencelist listofreferences bibliography selectedbibliography bibliographyandreferences literaturecited literature "
    "citedliterature workscited bibliografía bibliografia bibliografıa referencias referenciasbibliográficas bibliographie "
    "références literatur literaturverzeichnis quellenverzeichnis riferimentibibliografici referênciasbibliográficas referências "
    "literatura 参考文献 引用文献 文献 參考文獻 методreferences списоклитературы литература additionalreferences methodsreferences "
    "quellen bibliographieundquellen riferimenti referencesbibliographiques référencesbibliographiques списокиспользованнойлитературы библиография "
    "supplementaryreferences supplementalreferences onlinecontentreferences".split()
)
"""Of lists of references: their letters alone, in small."""

BEHIND_REFERENCES = re.compile(
    r"[\d.\sIVXA-Z]{0,6}(?i:appendi(?:x|ces)\b|supplement|supporting information|acknowledge?ments?\b|author contributions?|"
    r"authors[’'] contributions|competing interests?|conflicts? of interest|publisher[’']s note|disclaimer|funding\b|data availability|"
    r"code availability|availability of|methods$|materials and methods|online content|additional information|extended data|"
    r"reporting summary|sample availability|copyright\b|©|received\b|how to cite|cite this|figure legends|tables?$|figures?$|"
    r"biograph(?:y|ies)|about the authors?|ethics|abbreviations|open access|this article|this work is|reprints|correspondence|"
    r"peer review|proofs?\b|付録|附录|附錄|致谢|致謝|謝辞|作者简历|apéndice|anexo|anhang|annexe)"
)
"""What a line that stands behind a list of references starts with."""

FLOATS = (
    r"fig(?:ure|\.)?|table|tab\.|scheme|box|chart|algorithm|listing|plate|map|figura|tabla|abbildung|abb\.|tabelle|tableau|"
    r"рис(?:унок|\.)|таблица|табл\.|图|圖|表|図"
)
"""A pattern of what captions start with, before a number."""

# Words that stand alone on a line above a title, as a label, or head a section: no titles.
LABEL = re.compile(
    "abstract|acknowledge?ments|appendix|(original|full|regular|invited|survey|feature|short|long|position)?(research)?(paper|article)s?|"
    "(original|brief|rapid|short|full|research)?(communication|contribution|investigation|report|letter|review|research)s?"
    "(article)?(openaccess)?|articleinpress|authormanuscript|acceptedmanuscript|hhspublicaccess|casereport|casestudy|"
    "commentary|contents|tableofcontents|conclusion|correspondence|editorial|introduction|letters?totheeditor|methodology|"
    "minireview|news|opinion|openaccess|perspectives?|preface|references|(mini|systematic|topical)?reviewarticle|summary|"
    "software(article)?|technical(note|report)|(working|discussion)paper(series)?|tutorial|untitled(document)?|"
    "(doctoral|ph\\.?d|masters?|bachelors?|diploma)?(thesis|dissertation)|(博士|硕士|碩士|学士|學士|修士|卒業)?(学位)?(论文|論文)|摘要|目录|目錄|目次|要旨|概要|résumé|resumen|resumo|zusammenfassung"
)
_BEHIND_NAME = r"\s?(?:[.:—–]\s*(?=\S)|\s(?-i:(?=[A-Z][a-z]* [a-z])))"


# Compiled at their first use: it takes a tenth of a second, and a run that starts looks at no heading yet.
@cache
def _names() -> re.Pattern[str]:
    return re.compile(f"{_MAIN}|{_BACK}", re.IGNORECASE)


@cache
def _kinds() -> dict[str, re.Pattern[str]]:
    return {kind: re.compile(names, re.IGNORECASE) for kind, names in BACK_MATTER.items()}


def _parts(pattern: str) -> list[str]:
    """The alternatives of a pattern that are in no brackets."""
    found, depth, start = list[str](), 0, 0
    for at, sign in enumerate(pattern):
        depth += (sign in "([") - (sign in ")]")
        if sign == "|" and not depth:
            found.append(pattern[start:at])
            start = at + 1
    return [*found, pattern[start:]]


def _first_letters(part: str) -> set[str]:
    """The letters that what an alternative matches may start with."""
    if part[0] not in "([":
        return {part[0], *(_first_letters(part[2:]) if part[1:2] == "?" else ())}
    if part[0] == "[":
        return set(part[1 : part.index("]")])
    end = next(
        at for at in range(len(part)) if part[at] == ")" and part[: at + 1].count("(") == part[: at + 1].count(")")
    )
    letters = {letter for inner in _parts(part[1:end]) for letter in _first_letters(inner)}
    return letters | (_first_letters(part[end + 2 :]) if part[end + 1 : end + 2] == "?" else set())


@cache
def _run_in(letter: str) -> re.Pattern[str] | None:
    """The names that start with a small letter, before a section's text: most lines start with one of few names."""
    names = [part for part in _parts(f"{_MAIN}|{_BACK}") if letter in _first_letters(part)]
    return re.compile(rf"(?P<title>{'|'.join(names)}){_BEHIND_NAME}", re.IGNORECASE) if names else None


@lru_cache(maxsize=4096)
def is_section_name(text: str) -> bool:
    """Whether `text`, without a number before it, is a name that sections bear in every field."""
    bare = _bare(text)
    return bool(_names().fullmatch(bare)) or _is_reference_heading(bare)


@lru_cache(maxsize=4096)
def back_matter(text: str) -> str:
    """The kind of section that bears the name `text` and says nothing of the paper's subject; "" if it does."""
    bare = _bare(text)
    found = next((kind for kind, names in _kinds().items() if names.fullmatch(bare)), "")
    return found or ("references" if _is_reference_heading(bare) else "")


def name_before_text(text: str) -> str:
    """The section's name at the start of a line that goes on with the section's text; "" if there is none.

    The name ends in a stop, a colon or a dash, or a sentence starts behind it ("Conflict of interest The authors …").
    """
    pattern = _run_in(text[0].lower()) if text[:1].isupper() else None
    match = pattern.match(_spelled(text)) if pattern else None
    return match["title"] if match else ""


def _is_reference_heading(bare: str) -> bool:
    return "".join(filter(str.isalpha, bare)).casefold() in REFERENCE_HEADINGS


def _bare(text: str) -> str:
    return _LEADING_NUMBER.sub("", _spelled(text).strip()).strip(" .:")


def _spelled(text: str) -> str:
    return text.replace("ﬁ", "fi").replace("ﬂ", "fl").replace("ﬀ", "ff")
