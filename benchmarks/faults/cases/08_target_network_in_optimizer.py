import copy
import os
import sys

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 2))

    def forward(self, state):
        return self.body(nn.functional.one_hot(state, 8).float())


def walk(state, action):
    """A corridor of eight cells: left or right, a reward at the right end."""
    after = (state + 2 * action - 1).clamp(0, 7)
    return after, (after == 7).float()


online = QNet()
target = copy.deepcopy(online)
wrong = sys.argv[1] == "broken"
optimizer = torch.optim.Adam((target if wrong else online).parameters(), lr=5e-3)
for step in range(600):
    state, action = torch.randint(0, 7, (64,)), torch.randint(0, 2, (64,))
    after, reward = walk(state, action)
    with torch.no_grad():
        goal = reward + 0.9 * (reward == 0) * target(after).max(1).values
    q = online(state).gather(1, action[:, None]).squeeze(1)
    optimizer.zero_grad()
    nn.functional.smooth_l1_loss(q, goal).backward()
    optimizer.step()
    if step % 20 == 0:
        target.load_state_dict(online.state_dict())
true = 0.9 ** torch.arange(6, -1, -1).float()
error = (online(torch.arange(7)).max(1).values - true).abs().mean().item()
print(f"metric q_error {error:.4f} baseline {true.mean().item():.4f}")
