#!/bin/bash
# Slurm's programs for tests: sbatch keeps what is asked for and runs all jobs of the array at once; scontrol runs one again.
here=$(dirname "$0")
run() { # the job's number in the array
    SLURM_JOB_ID=$((77 + $1)) SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$1 SLURM_PROCID=0 SLURM_NTASKS=1 \
        setsid bash "$here/asked" < /dev/null > /dev/null 2>> "$here/errors" &
}
case $(basename "$0") in
sbatch)
    cp "$1" "$here/asked"
    for number in $(seq 0 "$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$1")"); do run "$number"; done
    echo "Submitted batch job 77"
    ;;
srun) exec "${@:6}" ;; # after --unbuffered --output FILE --error FILE
scontrol)
    echo "$@" >> "$here/requeued"
    run "${2#77_}"
    ;;
sacct) printf 'JobID|State|NodeList\n77_0|RUNNING|here\n77_1|RUNNING|here\n' ;;
esac
