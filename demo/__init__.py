"""The storyteller: `make demo` shows what preference tuning does, on a model that is made on the spot.

A template grammar writes openings and two kinds of ending, one intriguing and one flat. A small Llama (0.9 million
parameters) learns to write both; a job of the service then learns from 640 pairs which kind is preferred, and the
model that comes out writes that kind for openings that nobody trained on.

Measured on 2 CPU cores, on 128 held-out pairs and 128 endings sampled at temperature 1 (intriguing / flat / broken), in
a plain torch loop of 40 steps of 16 pairs, beta 0.1; ranges are over three sets of pairs, the first four lines in part
before the last small change of wording:

    base model, 540 steps in 42 s to 48 s      accuracy 0.49 to 0.58    50 to 67 / 59 to 75 / 1 to 4
    learning rate 1e-4, nll_weight 1           0.91                     42 / 20 / 2 of 64: too little
    learning rate 5e-4, nll_weight 0           1.00                     46 / 0 / 18 of 64: over-optimised
    learning rate 1e-3, nll_weight 2           1.00                     118 to 124 / 0 / 4 to 10
    learning rate 1e-3, nll_weight 4 (chosen)  1.00                     121 to 123 / 0 / 5 to 7

Through the service, 2 ranks, nll_weight 4: accuracy 0.58 to 1.00, endings 67 / 59 / 2 to 119 / 0 / 9, the same figures
twice; the job 38 s and 45 s with other work on the machine (27 s with less). A first demo, which makes the base model,
took 86 s and 93 s in all.

Accuracy alone misleads (the third line is perfect by it): the demo shows samples and the chosen log-prob beside it.

`make demo-real` does the same with SmolLM2-135M-Instruct (demo/smollm2.py), a real model of others, with LoRA;
demo/scenario.py holds what differs, and what was measured.
"""
