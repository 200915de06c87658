import copy
import os
import random
from collections import deque

import torch
from torch import nn

seed = int(os.environ.get("SEED", "0"))
torch.manual_seed(seed)
random.seed(seed)
online = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 2))
target = copy.deepcopy(online).requires_grad_(False)
adam = torch.optim.Adam(online.parameters(), lr=3e-3)
memory = deque(maxlen=2000)
place = torch.eye(6)
state = 0
for step in range(1500):
    greedy = random.random() > max(0.2, 1 - step / 500)
    action = online(place[state]).argmax().item() if greedy else random.randrange(2)
    after = max(0, min(5, state + 2 * action - 1))
    done = after == 5
    memory.append((state, action, after, float(done)))
    state = 0 if done else after
    if step < 100 or step % 3:
        continue
    s, a, n, d = (torch.tensor(column) for column in zip(*random.sample(memory, 32), strict=True))
    with torch.no_grad():
        goal = d + 0.9 * (1 - d) * target(place[n]).max(1).values
    q = online(place[s]).gather(1, a[:, None]).squeeze(1)
    loss = nn.functional.smooth_l1_loss(q, goal)
    adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(online.parameters(), 1.0)
    adam.step()
    if step % 30 == 0:
        target.load_state_dict(online.state_dict())
true = 0.9 ** torch.arange(4, -1, -1).float()
error = (online(place[:5]).max(1).values - true).abs().mean().item()
print(f"metric q_error {error:.4f} baseline {true.mean().item():.4f}")
