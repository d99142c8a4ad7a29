"""DeepSpeed's configuration, every default that matters written out."""

from typing import Any

from core.contract.run_spec import Settings


def ds_config(settings: Settings, hidden: int, widest: int, cuda: bool) -> dict[str, Any]:
    """`hidden`: width of the model, from which buckets follow; DeepSpeed's own (5e8 elements) suit no small model.
    `widest`: of its layers; an adapter's matrices stay whole on every rank, or each would cost a collective a pass.

    One micro-batch an accumulation here: the loop says itself when a global batch ends, and weighs its losses.
    """
    bucket = max(hidden * hidden, 1 << 20)
    kept_whole = max(10 * hidden, settings.lora.r * widest if settings.lora else 0)
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "zero_optimization": {
            "stage": 3,
            "contiguous_gradients": True,
            "overlap_comm": cuda,
            "reduce_bucket_size": bucket,
            "stage3_prefetch_bucket_size": int(0.9 * bucket),
            "stage3_param_persistence_threshold": kept_whole,
            "stage3_max_live_parameters": max(100 * bucket, 100_000_000),
        },
        # torch's own AdamW: DeepSpeed's would be compiled at the first use.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        # Always written: 0 is none, and DeepSpeed's default is 1.
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.precision == "bf16"},
        # In bf16 too: 3.5e-3 of a gradient is lost otherwise over 2 ranks x 8 micro-batches.
        "data_types": {"grad_accum_dtype": "fp32"},
        "communication_data_type": "fp32",
        "steps_per_print": 1 << 40,
        "wall_clock_breakdown": False,
    }
