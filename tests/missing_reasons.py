"""Why names of PyTorch are missing: reasons and, by room, the names or patterns they cover."""

from __future__ import annotations

__all__ = ["REASONS"]

REASONS: list[tuple[str, dict[str, str]]] = [
    (
        "Compilers, tracers and exporters: Python is run as it is, so there is nothing to inspect",
        {
            "": (
                "AggregationType AliasDb *Type Argument ArgumentSpec Benchmark* Block CallStack "
                "Capsule Code CompilationUnit CompleteArgumentSpec ConcreteModuleTypeBuilder "
                "DeepCopyMemoTable DeserializationStorageContext DisableTorchFunction* "
                "DispatchKey* "
                "ErrorReport ExcludeDispatchKeyGuard ExecutionPlan FatalError FileCheck "
                "FunctionSchema Gradient Graph GraphExecutorState IODescriptor JITException "
                "LiteScriptModule LockingLogger ModuleDict BufferDict ParameterDict Node "
                "NoopLogger OperatorInfo PyTorchFile* Script* SerializationStorageContext "
                "StaticModule Sym* Tag ThroughputBenchmark TracingState Type Use Value AVG SUM "
                "cond hash_tensor import_ir_module* merge_type_from_type_comment parse_* sym_* "
                "unify_type_list *Context"
            ),
            "jit": (
                "CompilationUnit Error enable_onednn_fusion export_opnames isinstance "
                "onednn_fusion_enabled set_fusion_strategy strict_fusion"
            ),
            "compiler": (
                "get_default_backend keep_* list_backends load_* nested_compile_region "
                "save_cache_artifacts set_* skip_* substitute_in_graph wrap_numpy"
            ),
            "testing": "FileCheck",
            "func": "debug_unwrap functionalize",
            "library": "*",
            "overrides": "*",
            "nn.functional": (
                "BroadcastingList* boolean_dispatch handle_torch_function has_torch_function*"
            ),
        },
    ),
    (
        "Private to PyTorch: kernels of other libraries and helpers that only its own code calls",
        {
            "": (
                "batch_norm_* cudnn_* mkldnn_* miopen_* fbgemm_* native_* *_copy slice_inverse "
                "convolution constant_pad_nd embedding_renorm_ grid_sampler_2d grid_sampler_3d "
                "norm_except_dim init_num_threads autocast_*_nesting is_vulkan_available"
            ),
            "Tensor": (
                "grad_dtype hash_tensor index module_load name slice_inverse to_mkldnn "
                "is_maia is_vulkan"
            ),
            "nn": "factory_kwargs",
            "nn.Module": "T_destination call_super_init dump_patches",
            "nn.functional": (
                "GRID_SAMPLE_* ScalingType SwizzleType Tensor assert_int_or_pair *_notes "
                "native_channel_shuffle"
            ),
            "nn.attention": "*",
            "optim": "swap_in_optimizer_params_and_state",
            "optim.Optimizer": "OptimizerPostHook OptimizerPreHook profile_hook_step",
            "utils": "*",
            "utils.dlpack": "DLDeviceType",
            "linalg": "common_notes",
            "fft": "Tensor",
            "autograd": "NestedIOFunction enforce_grad_layout_policy variable",
            "random": "thread_safe_generator",
            "__future__": "*",
        },
    ),
    (
        "Sparse, nested and masked tensors do not exist; what would make one is missing",
        {
            "": (
                "sparse_*_tensor sparse_compressed_tensor dsmm hsmm hspmm saddmm smm sspaddmm "
                "resize_as_sparse_"
            ),
            "Tensor": (
                "ccol_indices col_indices crow_indices row_indices coalesce dense_dim indices "
                "is_coalesced resize_as_sparse_ smm sparse_* sspaddmm to_padded_tensor to_sparse* "
                "values"
            ),
            "optim": "SparseAdam",
            "sparse": "*",
            "nested": "*",
            "cuda.sparse": "*",
            "masked": "*",
        },
    ),
    (
        "Quantized numbers do not exist",
        {
            "": (
                "choose_qparams_optimized dequantize empty_quantized fake_quantize_* "
                "fused_moving_avg_obs_fake_quant int_repr q_* qint* qscheme quantize* quint*"
            ),
            "Tensor": "dequantize int_repr q_* qscheme",
        },
    ),
    (
        "Dtypes that no kernel knows: small integers and floats, unsigned ones beyond 8 bits, "
        "complex numbers of halves. NumPy's uint16, uint32 and uint64 arrays raise TypeError",
        {
            "": (
                "bit bits* chalf complex32 float4_* float8_* int[1-7] uint[1-7] uint16 uint32 "
                "uint64"
            ),
            "Tensor": "chalf",
            "nn.functional": "grouped_mm scaled_grouped_mm scaled_mm",
        },
    ),
    (
        "Losses and layers under torch itself that take numbers of ATen's: use those of "
        "nn.functional, which these names are made of",
        {
            "": (
                "adaptive_max_pool1d alpha_dropout_ binary_cross_entropy_with_logits conv_tbc "
                "cosine_embedding_loss ctc_loss embedding_bag feature_alpha_dropout_ "
                "hinge_embedding_loss instance_norm kl_div margin_ranking_loss poisson_nll_loss "
                "triplet_margin_loss"
            ),
            "nn.functional": "conv_tbc",
        },
    ),
    (
        "Deprecated or removed in PyTorch, which says so itself",
        {
            "": ("*Storage frobenius_norm nuclear_norm has_lapack has_mkl has_openmp has_spectral"),
            "Tensor": ("eig lstsq reinforce resize resize_as solve storage_type symeig volatile"),
            "nn": "Container CrossMapLRN2d",
            "cuda": "*Storage has_half has_magma",
            "cuda.amp": "amp_definitely_not_available",
        },
    ),
    (
        "Special functions of physics, linear algebra and distributions that no program of the "
        "survey calls",
        {
            "": "histogramdd igamma igammac lobpcg nonzero_static ormqr",
            "Tensor": "igamma igamma_ igammac igammac_ nonzero_static ormqr",
            "linalg": "ldl_factor ldl_factor_ex ldl_solve",
            "special": "*",
            "distributions": "ExponentialFamily GeneralizedPareto LKJCholesky",
            "distributions.constraints": "MixtureSameFamilyConstraint",
        },
    ),
    (
        "Several devices, processes or kinds of accelerators: work runs on one",
        {
            "": ("AcceleratorError Event Stream get_device_module *_ipu_* *_xla_*"),
            "Tensor": "ipu is_ipu is_mtia mtia xpu",
            "nn.Module": "ipu mtia xpu",
            "nn.parallel": "*",
            "cuda.comm": "*",
            "cuda.nccl": "*",
            "cpu": "get_capabilities",
            "distributed": "*",
            "accelerator": "*",
            "backends.mps": "*",
            "version": "rocm",
        },
    ),
    (
        "CUDA's allocator, libraries and sensors: the build has its own allocator and no "
        "libraries, and does not ask the driver for these numbers",
        {
            "cuda": "*",
            "cuda.memory": "*",
            "cuda.gds": "*",
            "cuda.green_contexts": "*",
            "cuda.tunable": "*",
            "cuda.CUDAGraph": "*",
            "cuda.Event": "*",
            "backends.cuda": "*",
        },
    ),
    (
        "Profilers: cProfile and perf see everything, since operations are functions",
        {"autograd.profiler": "*", "profiler": "*"},
    ),
    (
        "What autograd saves is kept by C++ and cannot be replaced, moved or watched; a checkpoint "
        "computes all of its part again",
        {"autograd.graph": "*", "utils.checkpoint": "*"},
    ),
    (
        "Checkpoints are read by a machine that builds plain data and checks all of it, always in "
        "the same way",
        {"serialization": "*"},
    ),
    (
        "Rarely used, and not done yet",
        {
            "": "Future fork wait from_file set_autocast_cache_enabled thread_safe_generator",
            "autograd": "set_multithreading_enabled",
            "nn.utils": "convert_conv2d_weight_memory_format convert_conv3d_weight_memory_format",
            "utils.data": "*",
            "func": "rearrange replace_all_batch_norm_modules_",
            "futures": "*",
            "jit": "Future",
            "hub": "help list",
        },
    ),
]
