#!/bin/sh
# The same script on both schedulers:
#   sbatch --array=0-2 --ntasks=1 --cpus-per-task=1 --time=10 examples/sweep_array.sh
#   qsub -t 1-3 -cwd -V examples/sweep_array.sh
# then: python examples/sweep_array.py collect
#
# Submit it from the directory of the project, with its environment active. Each task imports
# everything anew (2-3 s): give a task several points. Tasks of an array run at the same time, so
# points that need a QPU belong into one job, or behind one controller (docs/cluster.md, "Sweeps").
set -eu
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${NSLOTS:-1}}"
exec python examples/sweep_array.py
