#!/usr/bin/env bash
# All that is to be measured and checked on a GPU, in less than five minutes
# a backend.
#
#     benchmarks/gpu.sh
#
# Keras on JAX and on PyTorch, and on TensorFlow, each where it is installed and
# finds a GPU. Prints Markdown tables and writes them to $OUT (./gpu_results)
# /report.md as it goes; what the libraries say goes to log.txt beside it. What
# fails does not stop the rest: it is named at the end, with a status of 1.
#
#     PYTHON   the interpreter (python3)
#     PARTS    the parts to run, such as "train_jax forms_jax" (all)
#     LIMIT    seconds after which no part goes on (285); above it, parts have
#              more as well
#     SMALL=1  a trial on tiny sizes, on a CPU if there is no GPU
set -u
cd "$(dirname "$0")/.." || exit 1

PYTHON=${PYTHON:-python3}
OUT=${OUT:-gpu_results}
PARTS=${PARTS:-}
LIMIT=${LIMIT:-285}
SMALL=${SMALL:-}
SECONDS=0
mkdir -p "$OUT" || exit 1
OUT=$(cd "$OUT" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
: >"$OUT/report.md"
: >"$OUT/log.txt"
failed=()

export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export TF_CPP_MIN_LOG_LEVEL=3
# JAX and TensorFlow take what they need of the card, and leave the rest.
export XLA_PYTHON_CLIENT_PREALLOCATE=false TF_FORCE_GPU_ALLOW_GROWTH=true

say() { printf '%s\n' "$@" | tee -a "$OUT/report.md"; }

wanted() { [[ -z $PARTS || " $PARTS " == *" $1 "* ]]; }

# run NAME SECONDS COMMAND...: writes its table to $scratch/NAME.md, and prints
# it too if it runs alone.
run() {
    local name=$1 limit=$2 left=$((LIMIT - SECONDS)) began=$SECONDS status
    shift 2
    if ((left < 10)); then
        echo "not begun: no time left" >"$scratch/$name.md"
        return 124
    fi
    timeout --kill-after=5 "$((limit < left ? limit : left))" "$@" \
        >"$scratch/$name.md" 2>"$scratch/$name.log"
    status=$?
    {
        echo "===== $name: status $status, $((SECONDS - began)) s"
        cat "$scratch/$name.log"
    } >>"$OUT/log.txt"
    if ((status)); then
        {
            echo
            echo "Status $status after $((SECONDS - began)) s:"
            echo '```'
            grep -v '^ *$' "$scratch/$name.log" | tail -n 25 | cut -c -200
            echo '```'
        } >>"$scratch/$name.md"
    fi
    return "$status"
}

# report NAME STATUS TITLE
report() {
    say "" "## $3 ($1, at $SECONDS s)"
    tee -a "$OUT/report.md" <"$scratch/$1.md"
    (($2)) && failed+=("$1")
}

# part NAME SECONDS TITLE: the command of `on`, alone, for it is timed.
part() {
    local name=$1 limit=$2 title=$3
    wanted "$name" || return 0
    run "$name" "$limit" "${command[@]}"
    report "$name" $? "$title"
}

# beside NAME SECONDS TITLE: the same, while others run too.
pids=() names=() titles=()
beside() {
    local name=$1 limit=$2 title=$3
    wanted "$name" || return 0
    run "$name" "$limit" "${command[@]}" &
    pids+=($!) names+=("$name") titles+=("$title")
}

# on BACKEND BENCHMARK FLAGS...: what to run, for `part` and `beside`.
on() {
    local backend=$1 benchmark=$2
    shift 2
    command=(env "KERAS_BACKEND=$backend" "$PYTHON" -m "benchmarks.$benchmark")
    command+=("$@")
}

sees_gpu() {
    case $1 in
        jax) "$PYTHON" -c \
            'import jax, sys; sys.exit(jax.default_backend() != "gpu")' ;;
        torch) "$PYTHON" -c \
            'import sys, torch; sys.exit(not torch.cuda.is_available())' ;;
        tensorflow) "$PYTHON" -c \
            'import sys, tensorflow as tf
sys.exit(not tf.config.list_physical_devices("GPU"))' ;;
    esac
}

say "# ActX on a GPU" ""
say "$(nvidia-smi --query-gpu=name,driver_version,memory.total \
    --format=csv,noheader 2>/dev/null || echo 'no NVIDIA GPU found')" ""
say "$("$PYTHON" - <<'EOF'
import importlib.metadata
import platform

words = [f"Python {platform.python_version()}"]
for name in ("keras", "jax", "jaxlib", "torch", "triton", "tensorflow"):
    try:
        words.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        pass
print(", ".join(words))
EOF
)"

for backend in jax torch tensorflow; do
    { sees_gpu $backend && touch "$scratch/$backend"; } \
        >/dev/null 2>"$scratch/$backend.log" &
done
wait
backends=()
for backend in jax torch tensorflow; do
    if [[ -e $scratch/$backend ]]; then
        backends+=($backend)
    elif [[ -n $SMALL ]] && "$PYTHON" -c "import $backend" 2>/dev/null; then
        backends+=($backend)
    fi
done
say "" "Backends: ${backends[*]:-none finds a GPU} (found in $SECONDS s)"
((${#backends[@]})) || failed+=("no backend")

sizes=(--batch=36 --time=10)
long=(--batch=4 --time=80)
memory=(--batch=4 --at_once=3)
timing=(--repeats=15 --in_a_row=10)
peak=(--peak=8192)
accuracy=()
lengths=(10 80)
answers=(1x10 1x80 36x10 1x800)
limit=$((LIMIT > 285 ? LIMIT * 75 / 285 : 75)) # of a part
workers=5
if [[ -n $SMALL ]]; then
    sizes=(--batch=2 --time=1)
    long=(--batch=1 --time=2)
    memory=(--batch=2)
    timing=(--repeats=2)
    peak=(--peak=256)
    accuracy=(--seeds=2 --epochs=1 --train_clips=64 --test_clips=32)
    lengths=(1 2)
    answers=(1x1 1x2)
    workers=1
    limit=600
fi

# What is not timed, all at once. Not with the compiled code of what is timed:
# PyTorch chooses between kernels by their speed.
export TORCHINDUCTOR_CACHE_DIR=$scratch/not_timed
for backend in "${backends[@]}"; do
    on $backend conformance --workers=$workers --seconds=$((limit - 5))
    beside "conformance_$backend" $((limit + 5)) \
        "Tests of layers and losses, without TF32"
    on $backend memory "${memory[@]}" --time "${lengths[@]}" \
        --steps "ActX, exact, float32" "ActX, exact, bfloat16" \
        "ActX, stored, bfloat16"
    beside "memory_$backend" $limit "Peak memory of a training step"
done
for backend in "${backends[@]:0:1}"; do
    on $backend accuracy_by_device "${accuracy[@]}"
    beside "accuracy_$backend" $limit "Accuracy on the built-in set"
done
on torch memory "${memory[@]}" --time "${lengths[@]}" --steps \
    "PyTorch, exact, bfloat16" "PyTorch compiled, exact, bfloat16"
beside memory_baseline $limit "Peak memory of PyTorch's step"
for i in "${!pids[@]}"; do
    wait "${pids[i]}"
    report "${names[i]}" $? "${titles[i]}"
done

# What is timed, the most important first.
export TORCHINDUCTOR_CACHE_DIR=$scratch/timed
for backend in "${backends[@]}"; do
    on $backend train_step "${sizes[@]}" "${timing[@]}" "${peak[@]}" --compile \
        --steps "exact, bfloat16" "stored, bfloat16" "exact, tf32"
    part "train_$backend" $((limit + 50)) "Training steps"
    on $backend attention_forms "${sizes[@]}" "${timing[@]}"
    part "forms_$backend" $((limit + 10)) "Forms of the matching and pooling"
    if [[ -e $scratch/jax && $backend == jax ]]; then
        on jax kernels "${sizes[@]}"
        part kernels_jax 45 "Kernels of a step"
    fi
    on $backend inference --one_process --dtype=mixed_bfloat16 \
        --sizes "${answers[@]}"
    part "inference_$backend" $limit "Inference"
    if [[ $backend == "${backends[0]}" ]]; then
        on $backend train_step "${long[@]}" "${timing[@]}" "${peak[@]}" \
            --compile --steps "exact, bfloat16"
        part "long_$backend" $limit "A training step of long clips"
    fi
done
for backend in "${backends[@]:0:1}"; do
    on $backend train_step "${sizes[@]}" "${timing[@]}" "${peak[@]}" --compile \
        --steps "exact, float32" "stored, float32" "stored, tf32"
    part "strict_$backend" $limit "Training steps in float32, and with TF32"
done

say "" "Took $SECONDS s."
if ((${#failed[@]})); then
    say "Failed: ${failed[*]}"
    exit 1
fi
say "No part failed."
