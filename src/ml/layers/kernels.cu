// Fused layers on NVIDIA cards: what Candle's own operations would do in dozens of passes over memory.

// Base of the wavelengths of rotary positions, as in attention.rs.
#define ROTARY_BASE 10000.0f

struct Sequence {
    long start;
    int head;
};

// The sequence and head of this block: along steps, sequences are contiguous; along rows, `stride` apart.
__device__ Sequence sequence(int heads, int count, int stride) {
    const long block = blockIdx.x;
    const long index = block / heads;
    Sequence s;
    s.head = (int)(block % heads);
    s.start = stride == 1 ? index * count : (index / stride) * count * stride + index % stride;
    return s;
}

__device__ void angle(int position, int pair, int size, float* sine, float* cosine) {
    const float turn = (float)position * powf(ROTARY_BASE, -2.0f * (float)pair / (float)size);
    sincosf(turn, sine, cosine);
}

// Copies queries (scaled), keys and values of one head to rows of `size + 1` elements, turned by their positions.
__device__ void gather(const float* qkv, Sequence s, int heads, int size, int count, int stride, float scale,
                       int rotary, float* q, float* k, float* v) {
    const int half = size / 2, wide = size + 1, width = heads * size;
    for (int at = threadIdx.x; at < count * half; at += blockDim.x) {
        const int i = at / half, j = at % half;
        const float* token = qkv + (s.start + (long)i * stride) * 3 * width + s.head * size;
        float sine = 0.0f, cosine = 1.0f;
        if (rotary) angle(i, j, size, &sine, &cosine);
        const float qa = token[j] * scale, qb = token[j + half] * scale;
        const float ka = token[width + j], kb = token[width + j + half];
        q[i * wide + j] = qa * cosine - qb * sine;
        q[i * wide + j + half] = qb * cosine + qa * sine;
        k[i * wide + j] = ka * cosine - kb * sine;
        k[i * wide + j + half] = kb * cosine + ka * sine;
        v[i * wide + j] = token[2 * width + j];
        v[i * wide + j + half] = token[2 * width + j + half];
    }
}

// Probabilities of every query over the positions whose flag is set, rows of `count + 1` elements.
__device__ void probabilities(const float* flags, Sequence s, int size, int count, int stride, const float* q,
                              const float* k, float* p) {
    const int wide = size + 1, long_row = count + 1;
    for (int at = threadIdx.x; at < count * count; at += blockDim.x) {
        const int i = at / count, j = at % count;
        float product = 0.0f;
        for (int c = 0; c < size; c++) product += q[i * wide + c] * k[j * wide + c];
        const bool seen = flags == nullptr || flags[s.start + (long)j * stride] > 0.0f;
        p[i * long_row + j] = seen ? product : -INFINITY;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int i = threadIdx.x / 32; i < count; i += warps) {
        float* row = p + i * long_row;
        float most = -INFINITY;
        for (int j = lane; j < count; j += 32) most = fmaxf(most, row[j]);
        for (int w = 16; w > 0; w /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, w));
        float total = 0.0f;
        for (int j = lane; j < count; j += 32) {
            const float e = most == -INFINITY ? 0.0f : expf(row[j] - most);
            row[j] = e;
            total += e;
        }
        for (int w = 16; w > 0; w /= 2) total += __shfl_xor_sync(0xffffffffu, total, w);
        const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
        for (int j = lane; j < count; j += 32) row[j] *= inverse;
    }
    __syncthreads();
}

extern "C" __global__ void attention_forward(const float* qkv, const float* flags, int has_flags, float* out,
                                             int heads, int size, int count, int stride, float scale, int rotary) {
    extern __shared__ float shared[];
    const int wide = size + 1, width = heads * size;
    float* q = shared;
    float* k = q + count * wide;
    float* v = k + count * wide;
    float* p = v + count * wide;
    const Sequence s = sequence(heads, count, stride);
    gather(qkv, s, heads, size, count, stride, scale, rotary, q, k, v);
    __syncthreads();
    probabilities(has_flags ? flags : nullptr, s, size, count, stride, q, k, p);
    for (int at = threadIdx.x; at < count * size; at += blockDim.x) {
        const int i = at / size, c = at % size;
        float sum = 0.0f;
        for (int j = 0; j < count; j++) sum += p[i * (count + 1) + j] * v[j * wide + c];
        out[(s.start + (long)i * stride) * width + s.head * size + c] = sum;
    }
}

extern "C" __global__ void attention_backward(const float* qkv, const float* flags, int has_flags,
                                              const float* gradient, float* dqkv, int heads, int size, int count,
                                              int stride, float scale, int rotary) {
    extern __shared__ float shared[];
    const int wide = size + 1, width = heads * size, half = size / 2, long_row = count + 1;
    float* q = shared;
    float* k = q + count * wide;
    float* v = k + count * wide;
    float* g = v + count * wide;
    float* p = g + count * wide;
    float* d = p + count * long_row;
    const Sequence s = sequence(heads, count, stride);
    gather(qkv, s, heads, size, count, stride, scale, rotary, q, k, v);
    for (int at = threadIdx.x; at < count * size; at += blockDim.x) {
        const int i = at / size, c = at % size;
        g[i * wide + c] = gradient[(s.start + (long)i * stride) * width + s.head * size + c];
    }
    __syncthreads();
    probabilities(has_flags ? flags : nullptr, s, size, count, stride, q, k, p);
    for (int at = threadIdx.x; at < count * count; at += blockDim.x) {
        const int i = at / count, j = at % count;
        float product = 0.0f;
        for (int c = 0; c < size; c++) product += g[i * wide + c] * v[j * wide + c];
        d[i * long_row + j] = product;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int i = threadIdx.x / 32; i < count; i += warps) {
        float along = 0.0f;
        for (int j = lane; j < count; j += 32) along += p[i * long_row + j] * d[i * long_row + j];
        for (int w = 16; w > 0; w /= 2) along += __shfl_xor_sync(0xffffffffu, along, w);
        for (int j = lane; j < count; j += 32) d[i * long_row + j] = p[i * long_row + j] * (d[i * long_row + j] - along);
    }
    __syncthreads();
    for (int at = threadIdx.x; at < count * half; at += blockDim.x) {
        const int i = at / half, j = at % half;
        float qa = 0.0f, qb = 0.0f, ka = 0.0f, kb = 0.0f, va = 0.0f, vb = 0.0f;
        for (int t = 0; t < count; t++) {
            const float toward = d[i * long_row + t], from = d[t * long_row + i], share = p[t * long_row + i];
            qa += toward * k[t * wide + j];
            qb += toward * k[t * wide + j + half];
            ka += from * q[t * wide + j];
            kb += from * q[t * wide + j + half];
            va += share * g[t * wide + j];
            vb += share * g[t * wide + j + half];
        }
        float sine = 0.0f, cosine = 1.0f;
        if (rotary) angle(i, j, size, &sine, &cosine);
        float* token = dqkv + (s.start + (long)i * stride) * 3 * width + s.head * size;
        token[j] = (qa * cosine + qb * sine) * scale;
        token[j + half] = (qb * cosine - qa * sine) * scale;
        token[width + j] = ka * cosine + kb * sine;
        token[width + j + half] = kb * cosine - ka * sine;
        token[2 * width + j] = va;
        token[2 * width + j + half] = vb;
    }
}

// Rows to mean square 1: one warp a row.
extern "C" __global__ void unit_forward(const float* x, float* y, long rows, int n, float epsilon) {
    const long row = ((long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (row >= rows) return;
    float sum = 0.0f;
    for (int j = lane; j < n; j += 32) sum += x[row * n + j] * x[row * n + j];
    for (int w = 16; w > 0; w /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, w);
    const float inverse = rsqrtf(sum / n + epsilon);
    for (int j = lane; j < n; j += 32) y[row * n + j] = x[row * n + j] * inverse;
}

extern "C" __global__ void unit_backward(const float* x, const float* gradient, float* dx, long rows, int n,
                                         float epsilon) {
    const long row = ((long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    const int lane = threadIdx.x % 32;
    if (row >= rows) return;
    float sum = 0.0f, along = 0.0f;
    for (int j = lane; j < n; j += 32) {
        sum += x[row * n + j] * x[row * n + j];
        along += x[row * n + j] * gradient[row * n + j];
    }
    for (int w = 16; w > 0; w /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, w);
        along += __shfl_xor_sync(0xffffffffu, along, w);
    }
    const float inverse = rsqrtf(sum / n + epsilon);
    const float share = along * inverse * inverse / n;
    for (int j = lane; j < n; j += 32) dx[row * n + j] = inverse * (gradient[row * n + j] - x[row * n + j] * share);
}
