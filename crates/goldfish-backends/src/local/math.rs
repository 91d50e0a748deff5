//! Elementary functions in `f32` as plain arithmetic, so that loops over them become vector instructions.
//!
//! All are inlined into a closure that [`vectorized`] runs. A value's bits don't depend on its lane: nothing is reordered, and
//! multiply-add is explicit.

use pulp::Arch;

use super::config::Xielu;

/// Runs a closure compiled for the widest vectors of this processor.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    struct Work<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Work<F> {
        type Output = R;
        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// Numbers around this one have no fraction.
const WHOLE: f32 = 12_582_912.0;

/// `e^x` to about one unit in the last place; 0 and infinity are not reached (x is clamped to -87 and 88).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Rounded to a whole number, which the lowest bits then hold: a conversion would also have to saturate.
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    // ln 2 in two parts: the product with the first is exact.
    let r = (-n).mul_add(0.693_359_4, x);
    let r = (-n).mul_add(-2.121_944_4e-4, r);
    // Minimax polynomial of (e^r - 1 - r) / r^2 on half an ln 2 each way, from Cephes' expf.
    let mut p = 1.987_569_1e-4f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p.mul_add(r, coefficient);
    }
    let y = p.mul_add(r * r, r) + 1.0;
    y * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The logistic function.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `ln(1 + e^x)`, to some units in the last place also where it is small.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    let y = exp(-x.abs());
    // ln(1 + y) = 2 artanh t, which cancels nothing; t is at most 1/3.
    let t = y / (2.0 + y);
    let square = t * t;
    let mut p = 1.0f32 / 13.0;
    for divisor in [11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p.mul_add(square, 1.0 / divisor);
    }
    (2.0 * t).mul_add(p, x.max(0.0))
}

/// The error function, to some units in the last place: an odd over an even polynomial within -4 and 4, as Eigen has it.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let x2 = x * x;
    let mut odd = -2.726_142_3e-10f32;
    for coefficient in
        [2.770_681_5e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906e-4, -2.954_6e-3, -1.609_603_3e-2]
    {
        odd = odd.mul_add(x2, coefficient);
    }
    let mut even = -1.456_607_2e-5f32;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        even = even.mul_add(x2, coefficient);
    }
    x * odd / even
}

/// The exponential linear unit plus 1: what linear attention maps queries and keys by.
#[inline(always)]
pub fn elu_plus_one(x: f32) -> f32 {
    if x > 0.0 { x + 1.0 } else { exp(x) }
}

/// Scores to weights that sum to 1.
#[inline(always)]
pub fn softmax(scores: &mut [f32]) {
    softmax_beside(scores, None);
}

/// Scores to weights that sum to 1 together with that of one more score, which is dropped.
#[inline(always)]
pub(super) fn softmax_beside(scores: &mut [f32], more: Option<f32>) {
    let highest = highest(scores).max(more.unwrap_or(f32::NEG_INFINITY));
    for score in scores.iter_mut() {
        *score = exp(*score - highest);
    }
    let total = sum(scores, |weight| weight) + more.map_or(0.0, |more| exp(more - highest));
    for score in scores.iter_mut() {
        *score /= total;
    }
}

/// `x` times the logistic function of `x`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The approximation of GELU with a hyperbolic tangent.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * x * (0.044_715 * x).mul_add(x, 1.0)))
}

/// xIELU: `e^x - 1 - x` below 0, `x^2` above, and `x` everywhere, each with its factor.
#[inline(always)]
pub(super) fn xielu(numbers: &Xielu, x: f32) -> f32 {
    let square = numbers.positive * x * x;
    let exponential = (expm1(x.min(numbers.highest)) - x) * numbers.negative;
    numbers.beta.mul_add(x, if x > 0.0 { square } else { exponential })
}

/// `e^x - 1`, to some units in the last place also where `x` is small.
#[inline(always)]
fn expm1(x: f32) -> f32 {
    // The series, up to x^7.
    let mut series = 1.0f32 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0] {
        series = series.mul_add(x, coefficient);
    }
    if x.abs() < 0.25 { series * x } else { exp(x) - 1.0 }
}

/// Lanes that a sum is split over: element `i` goes to lane `i` modulo this, so that the order of a sum depends on its elements alone.
const LANES: usize = 16;

/// The sum of `f` of the values.
#[inline(always)]
pub fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += f(*value);
    }
    lanes.iter().sum()
}

/// The highest of the values, in any order; negative infinity of none.
#[inline(always)]
pub fn highest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = lane.max(*value);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of the products of two rows.
#[inline(always)]
pub fn inner(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane = a.mul_add(*b, *lane);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane = a.mul_add(*b, *lane);
    }
    lanes.iter().sum()
}

/// Adds the products of a query with keys `[query.len(), keys]` (one lane a dimension) from `start` on to the scores.
#[inline(always)]
pub fn dot(query: &[f32], keys: &[f32], start: usize, scores: &mut [f32]) {
    let (length, count) = (keys.len() / query.len(), scores.len());
    let lane = |d: usize| &keys[d * length + start..][..count];
    let mut d = 0;
    while d + 4 <= query.len() {
        let (a, b, c, e) = (lane(d), lane(d + 1), lane(d + 2), lane(d + 3));
        for j in 0..count {
            let s = query[d].mul_add(a[j], scores[j]);
            let s = query[d + 1].mul_add(b[j], s);
            let s = query[d + 2].mul_add(c[j], s);
            scores[j] = query[d + 3].mul_add(e[j], s);
        }
        d += 4;
    }
    for (d, query) in query.iter().enumerate().skip(d) {
        for (score, key) in scores.iter_mut().zip(lane(d)) {
            *score = query.mul_add(*key, *score);
        }
    }
}

/// Adds rows `[weights.len(), out.len()]` times their weights to `out`.
#[inline(always)]
pub fn mix(weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let dim = out.len();
    let four = weights.chunks_exact(4);
    let done = weights.len() - four.remainder().len();
    for (w, rows) in four.zip(rows.chunks_exact(4 * dim)) {
        let (a, rows) = rows.split_at(dim);
        let (b, rows) = rows.split_at(dim);
        let (c, e) = rows.split_at(dim);
        for d in 0..dim {
            let s = w[0].mul_add(a[d], out[d]);
            let s = w[1].mul_add(b[d], s);
            let s = w[2].mul_add(c[d], s);
            out[d] = w[3].mul_add(e[d], s);
        }
    }
    for (weight, row) in weights[done..].iter().zip(rows[done * dim..].chunks_exact(dim)) {
        for (out, value) in out.iter_mut().zip(row) {
            *out = weight.mul_add(*value, *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn against_double_precision() {
        // Steps of the series in double precision, without a library: erf x = 2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1)).
        let erf64 = |x: f64| {
            let (mut term, mut total) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                total += term / f64::from(2 * n + 1);
            }
            total * 2.0 / std::f64::consts::PI.sqrt()
        };
        for step in -4000..=4000 {
            let x = step as f32 / 1000.0;
            let (found, expected) = (f64::from(exp(10.0 * x)), f64::from(10.0 * x).exp());
            assert!((found / expected - 1.0).abs() < 1.5e-6, "exp {x}: {found} {expected}");
            let (found, expected) = (f64::from(erf(x)), erf64(f64::from(x)));
            assert!((found - expected).abs() < 4e-7, "erf {x}: {found} {expected}");
            let (found, expected) = (f64::from(tanh(x)), f64::from(x).tanh());
            assert!((found - expected).abs() < 4e-7, "tanh {x}: {found} {expected}");
            let (found, expected) = (f64::from(softplus(10.0 * x)), f64::from(10.0 * x).exp().ln_1p());
            assert!((found / expected - 1.0).abs() < 2e-6, "softplus {x}: {found} {expected}");
        }
    }
}
