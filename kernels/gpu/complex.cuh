// Complex numbers as NumPy and CuPy lay them out, for float and double.
#ifndef CUDAQ_TARGET_COMPLEX_CUH
#define CUDAQ_TARGET_COMPLEX_CUH

#include "bits.cuh"

template <typename Real>
struct alignas(2 * sizeof(Real)) Complex {
    Real re, im;
};

template <typename Real>
CQT_DEVICE Complex<Real> times(Complex<Real> a, Complex<Real> b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

template <typename Real>
CQT_DEVICE void add_product(Complex<Real>& sum, Complex<Real> a, Complex<Real> b) {
    sum.re += a.re * b.re - a.im * b.im;
    sum.im += a.re * b.im + a.im * b.re;
}

#endif
