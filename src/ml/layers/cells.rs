//! Recurrent cells on plain slices, compiled for the vector units at hand.

use crate::ml::layers::kernels::{exp, vectorised};

/// Values that are worked on together.
const LANES: usize = 16;

type Lanes = [f32; LANES];

// Loops instead of `map` and `from_fn`, which are compiled apart and for the baseline.

#[inline(always)]
fn sigmoid(x: Lanes) -> Lanes {
    each([x], |[x]| 1.0 / (1.0 + exp(-x)))
}

#[inline(always)]
fn tanh(x: Lanes) -> Lanes {
    each([x], |[x]| 2.0 / (1.0 + exp(-2.0 * x)) - 1.0)
}

#[inline(always)]
fn each<const N: usize>(values: [Lanes; N], f: impl Fn([f32; N]) -> f32) -> Lanes {
    let mut out = [0.0; LANES];
    for (lane, out) in out.iter_mut().enumerate() {
        let mut arguments = [0.0; N];
        for (argument, values) in arguments.iter_mut().zip(&values) {
            *argument = values[lane];
        }
        *out = f(arguments);
    }
    out
}

/// The values from `at` on, zeros beyond the end.
#[inline(always)]
fn load(values: &[f32], at: usize) -> Lanes {
    match values[at..].first_chunk() {
        Some(lanes) => *lanes,
        None => {
            let mut lanes = [0.0; LANES];
            lanes[..values.len() - at].copy_from_slice(&values[at..]);
            lanes
        }
    }
}

#[inline(always)]
fn store(values: &mut [f32], at: usize, lanes: Lanes) {
    match values[at..].first_chunk_mut() {
        Some(place) => *place = lanes,
        None => {
            let n = values.len() - at;
            values[at..].copy_from_slice(&lanes[..n]);
        }
    }
}

/// A row of gates as one slice a gate.
#[inline(always)]
fn split<const N: usize>(row: &mut [f32], hidden: usize) -> [&mut [f32]; N] {
    let mut parts = row.chunks_exact_mut(hidden);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

vectorised! {
    /// One step of a memory: gates `[batch, 4 * hidden]` get their activations; cells and states come out.
    lstm_forward(gates: &mut [f32], before: &[f32], cells: &mut [f32], states: &mut [f32], hidden: usize) {
        let rows = gates.chunks_exact_mut(4 * hidden).zip(before.chunks_exact(hidden));
        let rows = rows.zip(cells.chunks_exact_mut(hidden).zip(states.chunks_exact_mut(hidden)));
        for ((gates, before), (cells, states)) in rows {
            let [input, forget, candidate, output] = split(gates, hidden);
            for at in (0..hidden).step_by(LANES) {
                let (i, f) = (sigmoid(load(input, at)), sigmoid(load(forget, at)));
                let (g, o) = (tanh(load(candidate, at)), sigmoid(load(output, at)));
                let cell = each([f, load(before, at), i, g], |[f, c, i, g]| f * c + i * g);
                store(input, at, i);
                store(forget, at, f);
                store(candidate, at, g);
                store(output, at, o);
                store(cells, at, cell);
                store(states, at, each([o, tanh(cell)], |[o, c]| o * c));
            }
        }
    }
}

vectorised! {
    /// Turns gates after their activation into gradients before it; `dcell` goes one step back.
    lstm_backward(
        gates: &mut [f32], cells: &[f32], before: &[f32], dstate: &[f32], dcell: &mut [f32], hidden: usize
    ) {
        let rows = gates.chunks_exact_mut(4 * hidden).zip(cells.chunks_exact(hidden).zip(before.chunks_exact(hidden)));
        let rows = rows.zip(dstate.chunks_exact(hidden).zip(dcell.chunks_exact_mut(hidden)));
        for ((gates, (cells, before)), (dstate, dcell)) in rows {
            let [input, forget, candidate, output] = split(gates, hidden);
            for at in (0..hidden).step_by(LANES) {
                let (i, f, g, o) = (load(input, at), load(forget, at), load(candidate, at), load(output, at));
                let (squashed, dh) = (tanh(load(cells, at)), load(dstate, at));
                let dc = each([load(dcell, at), dh, o, squashed], |[dc, dh, o, s]| dc + dh * o * (1.0 - s * s));
                store(output, at, each([dh, squashed, o], |[dh, s, o]| dh * s * o * (1.0 - o)));
                store(input, at, each([dc, g, i], |[dc, g, i]| dc * g * i * (1.0 - i)));
                store(forget, at, each([dc, load(before, at), f], |[dc, c, f]| dc * c * f * (1.0 - f)));
                store(candidate, at, each([dc, i, g], |[dc, i, g]| dc * i * (1.0 - g * g)));
                store(dcell, at, each([dc, f], |[dc, f]| dc * f));
            }
        }
    }
}

vectorised! {
    /// One step of a unit: gates `[batch, 3 * hidden]` of the input get their activations with what the state gives,
    /// `own`, whose candidate is left in `candidates`.
    gru_forward(
        gates: &mut [f32], own: &mut [f32], before: &[f32], candidates: &mut [f32], states: &mut [f32], hidden: usize
    ) {
        let rows = gates.chunks_exact_mut(3 * hidden).zip(own.chunks_exact_mut(3 * hidden));
        let rows = rows.zip(before.chunks_exact(hidden).zip(candidates.chunks_exact_mut(hidden)));
        for (((gates, own), (before, candidates)), states) in rows.zip(states.chunks_exact_mut(hidden)) {
            let [reset, update, candidate] = split(gates, hidden);
            let [own_reset, own_update, own_candidate] = split(own, hidden);
            for at in (0..hidden).step_by(LANES) {
                let r = sigmoid(each([load(reset, at), load(own_reset, at)], |[x, h]| x + h));
                let z = sigmoid(each([load(update, at), load(own_update, at)], |[x, h]| x + h));
                let own = load(own_candidate, at);
                let n = tanh(each([load(candidate, at), r, own], |[x, r, h]| x + r * h));
                store(reset, at, r);
                store(update, at, z);
                store(candidate, at, n);
                store(candidates, at, own);
                store(states, at, each([n, z, load(before, at)], |[n, z, h]| n + z * (h - n)));
            }
        }
    }
}

vectorised! {
    /// Turns gates after their activation into gradients before it; `down` gets those of the state's part, and
    /// `dstate` what goes one step back by the update gate.
    gru_backward(
        gates: &mut [f32], down: &mut [f32], candidates: &[f32], before: &[f32], dstate: &mut [f32], hidden: usize
    ) {
        let rows = gates.chunks_exact_mut(3 * hidden).zip(down.chunks_exact_mut(3 * hidden));
        let rows = rows.zip(candidates.chunks_exact(hidden).zip(before.chunks_exact(hidden)));
        for (((gates, down), (candidates, before)), dstate) in rows.zip(dstate.chunks_exact_mut(hidden)) {
            let [reset, update, candidate] = split(gates, hidden);
            let [down_reset, down_update, down_candidate] = split(down, hidden);
            for at in (0..hidden).step_by(LANES) {
                let (r, z, n, dh) = (load(reset, at), load(update, at), load(candidate, at), load(dstate, at));
                let dn = each([dh, z, n], |[dh, z, n]| dh * (1.0 - z) * (1.0 - n * n));
                let dr = each([dn, load(candidates, at), r], |[dn, own, r]| dn * own * r * (1.0 - r));
                let dz = each([dh, load(before, at), n, z], |[dh, h, n, z]| dh * (h - n) * z * (1.0 - z));
                store(reset, at, dr);
                store(update, at, dz);
                store(candidate, at, dn);
                store(down_reset, at, dr);
                store(down_update, at, dz);
                store(down_candidate, at, each([dn, r], |[dn, r]| dn * r));
                store(dstate, at, each([dh, z], |[dh, z]| dh * z));
            }
        }
    }
}
