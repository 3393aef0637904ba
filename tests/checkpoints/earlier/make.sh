#!/usr/bin/env bash
# The commands that made the files in this folder, once, with prunectl 0.1.0 (commit 082dc1a, torch 2.14, cpu). They are
# never made again: files of that day must load for ever. Run it in an empty folder, beside networks.py, to make such a
# set with another version.
set -euo pipefail
export PRUNECTL_TRUST=1 PRUNECTL_DEVICE=cpu PRUNECTL_SUBSET=128
small="--data digits --image-size 8 --seed 3"

prunectl train --model networks.py:residual -M width=8 $small --epochs 2 -o dense.safetensors
prunectl eval dense.safetensors | prunectl attack --attack fgsm,pgd -n 16 --save-examples 4
prunectl prune dense.safetensors --criterion snipit --sparsity 0.7 -o masked.safetensors --scores-out
prunectl prune dense.safetensors --criterion snapit --sparsity 0.4 | prunectl train --epochs 1 $small -o nodes.safetensors
prunectl shrink nodes.safetensors -o modules.safetensors
prunectl eval modules.safetensors
prunectl train --model networks.py:transformer $small --epochs 1 | prunectl prune -c snap -s 0.3 \
  | prunectl shrink -o swapped.safetensors
prunectl train --model networks.py:transformer $small --epochs 1 -o vit.safetensors
prunectl prune vit.safetensors -c snap -s 0.3 | prunectl shrink --norm alive -o alive.safetensors
prunectl train --model networks.py:fixed $small --epochs 1 | prunectl prune -c snap -s 0.4 \
  | prunectl shrink -o graph.safetensors
prunectl prune dense.safetensors -c cnip -s 0.6 -o both.safetensors
prunectl prune dense.safetensors --criterion magnitude --scope 2:4 -o pattern.safetensors
prunectl train --model networks.py:residual $small --epochs 4 -c snapit-during -s 0.4 --prune-delay 0 --prune-every 1 \
  --steps 1 -o during.safetensors
prunectl train --model networks.py:residual $small --epochs 3 -c imp -s 0.5 --prune-delay 0 --prune-every 1 --steps 2 \
  --max-minutes 0 -o imp.safetensors
prunectl train --model networks.py:residual $small --epochs 3 -c gate-decorators -s 0.3 --prune-delay 0 --prune-every 1 \
  --steps 2 --ema 0.9 --max-minutes 0 -o gates.safetensors
prunectl train --model networks.py:residual $small --epochs 4 -c rigl -s 0.5 --prune-delay 0 --prune-every 1 \
  --ema 0.9 -o rigl.safetensors
cat > plan.toml <<'PLAN'
[grid]
sparsity = [0.5, 0.8]
seed = [0]

[pipelines.before]
run = "prune --model logistic-regression --image-size 8 -c snip -s {sparsity} --seed {seed} | train --epochs 1 | eval --no-latency"
PLAN
prunectl sweep plan.toml --out swept
