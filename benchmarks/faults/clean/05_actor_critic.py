import os

import torch
from torch import nn

torch.manual_seed(int(os.environ.get("SEED", "0")))


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 48), nn.Tanh())
        self.actor, self.critic = nn.Linear(48, 3), nn.Linear(48, 1)

    def forward(self, state):
        h = self.body(state)
        return torch.distributions.Categorical(logits=self.actor(h)), self.critic(h).squeeze(1)


want = torch.randn(5, 3)


def reward_of(state, action):
    return ((state @ want).argmax(1) == action).float()


net = ActorCritic()
adam = torch.optim.Adam(net.parameters(), lr=5e-3)
for step in range(400):
    state = torch.randn(64, 5)
    policy, value = net(state)
    action = policy.sample()
    reward = reward_of(state, action)
    advantage = reward - value.detach()
    actor = -(policy.log_prob(action) * advantage).mean()
    critic = nn.functional.mse_loss(value, reward)
    adam.zero_grad()
    (actor + 0.5 * critic - 0.01 * policy.entropy().mean()).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    adam.step()
state = torch.randn(2000, 5)
share = reward_of(state, net(state)[0].probs.argmax(1)).mean().item()
print(f"metric reward_accuracy {share:.4f} baseline 0.3333")
