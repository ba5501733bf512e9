"""Ops that are left out of MACs on purpose, by kind; names of the aten namespace without a prefix.

MACs are convolutions, matmuls and attention. What is here is something else by definition: it may cost
time and memory, but no multiply-accumulate in the sense of the field. Most elementwise ops, and views, are
recognised by torch's own tags and need no entry.
"""

from __future__ import annotations

_NORMALISATION = """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    miopen_batch_norm _batch_norm_with_update batch_norm_elemt batch_norm_stats _batch_norm_no_update
    native_layer_norm native_group_norm _fused_rms_norm renorm _weight_norm_interface _softmax
    _safe_softmax _log_softmax _masked_softmax softmax log_softmax logsumexp norm linalg_vector_norm var
    std var_mean std_mean native_norm batch_norm_gather_stats batch_norm_gather_stats_with_counts
    batch_norm_update_stats
"""

_POOLING_AND_RESAMPLING = """
    avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d
    adaptive_max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_unpool2d max_unpool3d
    mkldnn_max_pool2d mkldnn_adaptive_avg_pool2d fractional_max_pool2d fractional_max_pool3d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d
    upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    grid_sampler_2d grid_sampler_3d affine_grid_generator torchvision::roi_align torchvision::roi_pool
    torchvision::ps_roi_align torchvision::ps_roi_pool _upsample_lanczos2d_aa
    _grid_sampler_2d_cpu_fallback
"""

_REDUCTION_AND_SCAN = """
    sum nansum mean prod amax amin max min aminmax argmax argmin all any count_nonzero median nanmedian
    mode cumsum cumprod cummax cummin logcumsumexp _cummax_helper _cummin_helper segment_reduce trace
    histc bincount _is_all_true _is_any_true equal is_nonzero _assert_async _functional_assert_async
    _assert_scalar _functional_assert_scalar _assert_tensor_metadata _linalg_check_errors _aminmax
    _logcumsumexp dist histogram hash_tensor allclose is_set_to
"""

_LOOKUP_AND_SELECTION = """
    embedding _embedding_bag _embedding_bag_forward_only embedding_renorm index _unsafe_index index_put
    _unsafe_index_put _index_put_impl index_select index_add index_copy index_fill index_reduce gather
    scatter scatter_add scatter_reduce masked_select masked_scatter masked_fill take put nonzero
    nonzero_static unique_consecutive unique_dim _unique _unique2 sort topk kthvalue searchsorted
    bucketize isin one_hot multinomial repeat_interleave tril_indices triu_indices torchvision::nms where
    roll zero fill _local_scalar_dense item masked_select_backward rot90 _unsafe_masked_index
    _unsafe_masked_index_put_accumulate unique_dim_consecutive
"""

_LAYOUT_AND_COPY = """
    split unsafe_split split_with_sizes unsafe_split_with_sizes chunk unsafe_chunk cat stack _chunk_cat
    split_with_sizes_copy unfold_copy view_copy clone copy _copy_from _to_copy _pack_padded_sequence
    _pad_packed_sequence constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d im2col col2im pixel_shuffle pixel_unshuffle
    channel_shuffle native_channel_shuffle repeat flip tril triu diag_embed contiguous resize resize_as
    _resize_output set _reshape_alias _unsafe_view _reshape_copy expand_copy as_strided as_strided_copy
    as_strided_scatter slice_scatter select_scatter diagonal_scatter block_diag lift lift_fresh
    lift_fresh_copy select_copy detach alias to_dense _to_dense to_sparse _to_sparse _coalesce coalesce
    _nested_view_from_buffer _nested_tensor_from_mask _nested_from_padded _nested_get_values
    _nested_get_offsets nested_to_padded_tensor to_padded_tensor _nested_from_padded_and_nested_example
    _nested_view_from_jagged _nested_view_from_buffer_copy _nested_tensor_size
    _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward _nested_tensor_from_tensor_list real
    imag view_as_real view_as_complex _conj _neg_view is_pinned pin_memory _pin_memory record_stream
    _values _indices crow_indices col_indices values indices _sparse_coo_tensor_unsafe
    _sparse_coo_tensor_with_dims_and_tensors _validate_sparse_coo_tensor_args sparse_resize_and_clear_
    _shape_as_tensor sym_size sym_stride sym_numel sym_storage_offset sym_is_contiguous dim numel size
    stride is_contiguous storage_offset is_same_size _has_same_storage_numel fill_diagonal
    _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu profiler::_record_function_enter
    profiler::_record_function_enter_new profiler::_record_function_exit to_mkldnn
    bitsandbytes::int8_vectorwise_quant bitsandbytes::int8_vectorwise_dequant bitsandbytes::int8_mm_dequant
    bitsandbytes::int8_double_quant bitsandbytes::quantize_4bit bitsandbytes::dequantize_4bit
    bitsandbytes::quantize_blockwise bitsandbytes::dequantize_blockwise
    _dyn_quant_pack_4bit_weight quantized::linear_prepack quantized::linear_prepack_fp16
    quantized::linear_unpack quantized::conv1d_prepack quantized::conv1d_unpack quantized::conv2d_prepack
    quantized::conv2d_unpack quantized::conv3d_prepack quantized::conv3d_unpack
    quantized::conv_transpose1d_prepack quantized::conv_transpose1d_unpack
    quantized::conv_transpose2d_prepack quantized::conv_transpose2d_unpack
    quantized::conv_transpose3d_prepack quantized::conv_transpose3d_unpack _stack _lazy_clone _coalesced
    is_coalesced _nnz _dimI _dimV dense_dim sparse_dim qscheme _convert_indices_from_coo_to_csr
    _convert_indices_from_csr_to_coo sym_constrain_range sym_constrain_range_for_size
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size _print
"""

_CREATION_AND_RANDOM = """
    empty empty_like empty_strided new_empty new_empty_strided new_zeros new_ones new_full zeros
    zeros_like ones ones_like full full_like arange linspace logspace eye scalar_tensor
    _efficientzerotensor complex rand rand_like randn randn_like randint randint_like randperm normal
    normal_functional uniform bernoulli random exponential geometric cauchy log_normal poisson binomial
    _standard_gamma _sample_dirichlet native_dropout rrelu_with_noise _fused_dropout hann_window
    hamming_window blackman_window kaiser_window bartlett_window empty_permuted range from_file
    fft_fftfreq fft_rfftfreq _masked_scale
"""

_ELEMENTWISE_AND_LOSS = """
    glu hardswish hardsigmoid hardtanh elu celu selu mish silu gelu leaky_relu log_sigmoid_forward
    softplus softshrink hardshrink threshold relu relu6 prelu _prelu_kernel rrelu_with_noise_functional
    nll_loss_forward nll_loss2d_forward nll_loss_nd mse_loss l1_loss smooth_l1_loss huber_loss
    binary_cross_entropy soft_margin_loss multi_margin_loss multilabel_margin_loss_forward _ctc_loss
    _thnn_fused_lstm_cell _thnn_fused_gru_cell lerp addcmul addcdiv floor_divide polar addr abs rsub
    _add_relu binary_cross_entropy_with_logits _transform_bias_rescale_qkv
"""

_QUANTISATION = """
    quantize_per_tensor quantize_per_channel quantize_per_tensor_dynamic dequantize int_repr q_scale
    q_zero_point q_per_channel_scales q_per_channel_zero_points q_per_channel_axis
    _make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor
    fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask
    _choose_qparams_per_tensor choose_qparams_optimized _empty_affine_quantized
    _empty_per_channel_affine_quantized quantized::add quantized::add_relu quantized::cat quantized::mul
    quantized::leaky_relu quantized::hardswish quantized::layer_norm
    _fake_quantize_learnable_per_tensor_affine _fake_quantize_learnable_per_channel_affine
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
"""

_AMONG_RANKS = """
    fsdp::all_gather_copy_in fsdp::split_with_sizes_copy fsdp::chunk_cat c10d::barrier
    _c10d_functional::wait_tensor _c10d_functional::_wrap_tensor_autograd
"""

IGNORED = frozenset(
    " ".join(
        (
            _NORMALISATION,
            _POOLING_AND_RESAMPLING,
            _REDUCTION_AND_SCAN,
            _LOOKUP_AND_SELECTION,
            _LAYOUT_AND_COPY,
            _CREATION_AND_RANDOM,
            _ELEMENTWISE_AND_LOSS,
            _QUANTISATION,
            _AMONG_RANKS,
        )
    ).split()
)
