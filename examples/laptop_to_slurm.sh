#!/bin/sh
# The program of laptop_to_slurm.py as a job. NAME is a QPU of this site (`scontrol show node`):
#   sbatch --gres=qpu:NAME --time=10 examples/laptop_to_slurm.sh
#   qsub -l qpu=NAME,qpu_slots=1 -cwd -V examples/laptop_to_slurm.sh
# Without a QPU in the request it runs on the emulator of the node. The site's hook opens the session
# and closes it, whatever becomes of the job; the script contains nothing of it.
#
# Submit it from the directory of the project, with its environment active.
set -eu
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-${NSLOTS:-1}}"
exec python examples/laptop_to_slurm.py "$@"
