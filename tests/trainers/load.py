"""Load an exported folder by a trainer's own loader, and print what it would train on: TRAINER FOLDER BASE.

A line is a JSON object for one example: its whole text, and the text that has loss. BASE is a model's folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers import AutoTokenizer


def trl(folder: Path, base: Path) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    kind = "parquet" if (folder / "train.parquet").exists() else "json"
    data = load_dataset(kind, data_files=str(next(folder.glob("train.*"))), split="train")
    config = SFTConfig(output_dir=str(base / "out"), report_to="none", max_length=None, use_cpu=True, bf16=False)
    tokenizer = AutoTokenizer.from_pretrained(base)
    trainer = SFTTrainer(model=str(base), args=config, train_dataset=data, processing_class=tokenizer)
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        yield batch["input_ids"][0].tolist(), batch["labels"][0].tolist()


def llama_factory(folder: Path, base: Path) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    audio = ModuleType("torchaudio")  # imported for sound alone, and not to be had for every build of torch
    audio.__spec__ = ModuleSpec("torchaudio", None)
    sys.modules["torchaudio"] = audio
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments, ModelArguments
    from transformers import Seq2SeqTrainingArguments

    data = DataArguments(template="chatml", dataset="gristmill_train", dataset_dir=str(folder), overwrite_cache=True)
    tokenizer = AutoTokenizer.from_pretrained(base)
    template = get_template_and_fix_tokenizer(tokenizer, data)
    training = Seq2SeqTrainingArguments(output_dir=str(base / "out"), use_cpu=True, do_train=True)
    found = get_dataset(template, ModelArguments(model_name_or_path=str(base)), data, training, "sft", tokenizer)
    for row in found["train_dataset"]:
        yield row["input_ids"], row["labels"]


def axolotl(folder: Path, base: Path) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    import yaml
    from axolotl.prompt_strategies.chat_template import StrategyLoader
    from axolotl.utils.dict import DictDefault
    from datasets import load_dataset

    (settings,) = yaml.safe_load((folder / "axolotl.yml").read_text("utf-8"))["datasets"]
    # As axolotl.utils.data.shared loads a local file; that module itself needs packages of many gigabytes.
    data = load_dataset(settings["ds_type"], data_files=settings["path"], split=settings["split"])
    config = DictDefault({"sequence_len": 4096, "train_on_inputs": False, "chat_template": "tokenizer_default"})
    strategy = StrategyLoader()(AutoTokenizer.from_pretrained(base), config, settings)
    for row in data:
        tokens = strategy.tokenize_prompt(row)
        yield tokens["input_ids"], tokens["labels"]


def main(trainer: str, folder: str, base: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    loaders = {"trl": trl, "llama_factory": llama_factory, "axolotl": axolotl}
    for ids, labels in loaders[trainer](Path(folder), Path(base)):
        learnt = [label for label in labels if label != -100]
        print("ROW", json.dumps({"text": tokenizer.decode(ids), "loss": tokenizer.decode(learnt)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
