// Words that a device shares with processes on the host: loads that acquire and stores that
// release at system scope. A loop over `volatile` alone would do on x86-64, not on Grace.
#ifndef CUDAQ_TARGET_SYSTEM_CUH
#define CUDAQ_TARGET_SYSTEM_CUH

#include "bits.cuh"

#ifdef __CUDACC__
CQT_DEVICE u64 load_acquire(const u64* from) {
    u64 value;
    asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
    return value;
}
CQT_DEVICE u64 load_relaxed(const u64* from) {
    u64 value;
    asm volatile("ld.relaxed.sys.global.u64 %0, [%1];" : "=l"(value) : "l"(from) : "memory");
    return value;
}
CQT_DEVICE void store_release(u64* to, u64 value) {
    asm volatile("st.release.sys.global.u64 [%0], %1;" ::"l"(to), "l"(value) : "memory");
}
CQT_DEVICE void store_relaxed(u64* to, u64 value) {
    asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(to), "l"(value) : "memory");
}
CQT_DEVICE void store_relaxed(u32* to, u32 value) {
    asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
#else
inline u64 load_acquire(const u64* from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
inline u64 load_relaxed(const u64* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
inline void store_release(u64* to, u64 value) { __atomic_store_n(to, value, __ATOMIC_RELEASE); }
inline void store_relaxed(u64* to, u64 value) { __atomic_store_n(to, value, __ATOMIC_RELAXED); }
inline void store_relaxed(u32* to, u32 value) { __atomic_store_n(to, value, __ATOMIC_RELAXED); }
#endif

#endif
