"""The storyteller: `make demo` shows what preference tuning does, on a model that is made on the spot.

A template grammar writes openings and two kinds of ending, one intriguing and one flat. A small Llama (0.9 million
parameters) learns to write both; a job of the service then learns from 640 pairs which kind is preferred, and the
model that comes out writes that kind for openings that nobody trained on.

Measured on 2 CPU cores, on 128 held-out pairs and 128 endings sampled at temperature 1 (intriguing / flat / broken),
with the rates tried in a plain torch loop, 40 steps of 16 pairs, beta 0.1, three sets of pairs where a range is given:

    base model, 540 steps in 42 s to 48 s      accuracy 0.49 to 0.58    59 to 67 / 59 to 65 / 1 to 4
    learning rate 1e-4, nll_weight 1           0.91                     two thirds intriguing: too little (of 64)
    learning rate 5e-4, nll_weight 0           1.00                     46 / 0 / 18 of 64: over-optimised
    learning rate 1e-3, nll_weight 2           1.00                     118 to 124 / 0 / 4 to 10
    learning rate 1e-3, nll_weight 4 (chosen)  1.00                     121 to 123 / 0 / 5 to 7

Through the service, on 2 ranks: accuracy 1.00, 119 / 0 / 9, the job 27 s to 45 s and the whole demo 84 s to 118 s, other
work going on beside it (a first run pays 42 s to 48 s of them for the base model, which is kept for the next time).

Accuracy alone misleads (the third line is perfect by it): the demo shows samples and the chosen log-prob beside it.
"""
