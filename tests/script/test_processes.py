"""Programs that start processes, or are started as several, and frameworks that run the loop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.programs import HEAD, program

pytestmark = pytest.mark.slow

GRADFLOW = (sys.executable, "-m", "gradflow", "watch", "--json")


def watched(*command: object, folder: Path) -> tuple[dict[str, Any], str]:
    """Run a command that watches a program; return its document and what went to stderr."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


WORKERS = """
import multiprocessing, os
torch.set_num_threads(1)  # OpenMP's threads do not survive a fork, whoever watches
from torch.utils.data import DataLoader, Dataset


class Data(Dataset):
    def __len__(self):
        return 48

    def __getitem__(self, index):
        return torch.randn(6), index % 2


def train_elsewhere(queue):
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(9):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    queue.put(__name__)


def main(how):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    for inputs, labels in DataLoader(Data(), 8, num_workers=1, multiprocessing_context=how):
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    context = multiprocessing.get_context(how)
    queue = context.Queue()
    process = context.Process(target=train_elsewhere, args=(queue,))
    process.start()
    print("child is", queue.get())
    process.join()
    print("child ended with", process.exitcode)
    if how == "fork":
        child = os.fork()
        if child == 0:
            sys.exit(3)
        print("fork ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main(sys.argv[1])
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_workers_and_children_are_left_alone(tmp_path: Path, how: str) -> None:
    path = program(tmp_path, HEAD, WORKERS)
    document, said = watched(*GRADFLOW, "--steps", 6, path, how, folder=tmp_path)
    assert [(m["name"], m["seen"]) for m in document["models"]] == [("model", 6)]
    assert "child" not in said  # ended before
    document, said = watched(*GRADFLOW, path, how, folder=tmp_path)
    assert document["models"][0]["seen"] == 6
    name = "__main__" if how == "fork" else "__mp_main__"
    assert f"child is {name}\nchild ended with 0\n" in said
    assert ("fork ended with 3" in said) == (how == "fork")


def test_the_first_of_two_processes_reports(tmp_path: Path) -> None:
    parallel = """
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    net = network()
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(4):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    dist.destroy_process_group()
    """
    path = program(tmp_path, HEAD, parallel)
    run = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    document, _ = watched(*run, *GRADFLOW[1:], path, folder=tmp_path)
    (model,) = document["models"]
    assert (model["name"], model["seen"]) == ("net", 4)
    assert [row["name"] for row in model["rows"]] == ["0", "2", "4"]


def test_ctrl_c_reports_what_was_seen(tmp_path: Path) -> None:
    endless = """
    import signal
    # A background job of a shell, as CI may be, inherits Ctrl-C as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = 0
    while True:
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        step += 1
        if step == 5:
            open("ready", "w").close()
    """
    path = program(tmp_path, HEAD, endless)
    process = subprocess.Popen(
        [*GRADFLOW, str(path)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    while not (tmp_path / "ready").exists() and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    document = json.loads(out)
    assert document["seen"] >= 5
    assert "interrupted" in {f["code"] for f in document["findings"]}


def test_a_lightning_trainer_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    fit = """
    import lightning.pytorch as lightning
    from torch.utils.data import DataLoader, TensorDataset

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = network()

        def training_step(self, batch, _):
            return F.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    module = Module()
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", **quiet)
    trainer.fit(module, DataLoader(TensorDataset(x, y), 8))
    """
    path = program(tmp_path, HEAD, fit)
    document, _ = watched(*GRADFLOW, path, folder=tmp_path)
    assert [(m["name"], m["seen"]) for m in document["models"]] == [("module.model", 8)]
    assert document["steps"][0]["loss"] is not None


def test_a_hugging_face_trainer_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    fit = """
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=8,
    )
    bert = BertForSequenceClassification(config)
    data = [{"input_ids": torch.randint(20, (6,)), "labels": y[i]} for i in range(16)]
    arguments = TrainingArguments(
        "out", per_device_train_batch_size=8, num_train_epochs=2, report_to=[], use_cpu=True,
        save_strategy="no",
    )
    Trainer(bert, arguments, train_dataset=data).train()
    """
    path = program(tmp_path, HEAD, fit)
    document, _ = watched(*GRADFLOW, path, folder=tmp_path)
    assert [(m["name"], m["seen"]) for m in document["models"]] == [("bert", 4)]
