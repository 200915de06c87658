import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))
stride = 4 if sys.argv[1] == "broken" else 1
letters = torch.randn(6, 8)


def speak(n):
    """Six letters, two frames for each."""
    text = torch.rand(n, 6).argsort(1)[:, :5] + 1
    frames = letters[text - 1].repeat_interleave(2, 1)
    return (frames + 0.2 * torch.randn(n, 10, 8)).transpose(1, 2), text


net = nn.Sequential(
    nn.Conv1d(8, 48, 3, padding=1),
    nn.ReLU(),
    nn.Conv1d(48, 48, 3, stride=stride, padding=1),
    nn.ReLU(),
    nn.Conv1d(48, 7, 1),
)
ctc = nn.CTCLoss(zero_infinity=True)
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(300):
    sound, text = speak(32)
    log_probs = net(sound).permute(2, 0, 1).log_softmax(-1)
    frames = torch.full((32,), len(log_probs))
    adam.zero_grad()
    loss = ctc(log_probs, text, frames, torch.full((32,), 5))
    loss.backward()
    adam.step()
sound, text = speak(300)
right = 0
for said, true in zip(net(sound).argmax(1).tolist(), text.tolist(), strict=True):
    once = [a for a, b in zip(said, [0, *said[:-1]], strict=True) if a != b and a != 0]
    right += once == true
print(f"metric accuracy {right / 300:.4f} baseline 0.0000")
