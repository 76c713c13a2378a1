//! An exact sum of floating point numbers: rounded once, when it is read.
//!
//! A fixed-point number wide enough for every finite `f64`, of which only the digits in use are kept. Adding
//! is exact and has an inverse, so the sum of a group is the same in whatever order its parts came and went.

use serde::{Deserialize, Serialize};

/// A digit has this many bits; digits are balanced, from -2^31 to 2^31 - 1, which makes the form unique.
const DIGIT_BITS: i32 = 32;
/// The weight of the lowest bit of digit 0: 2^-1088, below the least subnormal number.
const BIAS: i32 = 1088;

/// An exact sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExactSum {
    /// The number of the first digit kept.
    low: i32,
    /// The digits, lowest first, neither beginning nor ending with 0.
    digits: Vec<i32>,
}

impl ExactSum {
    /// The sum of one number, which must be finite.
    pub fn of(value: f64) -> ExactSum {
        let mut sum = ExactSum::default();
        sum.add_number(value);
        sum
    }

    /// Adds a number, which must be finite.
    pub fn add_number(&mut self, value: f64) {
        let (low, digits) = split(value);
        let Some(first) = digits.iter().position(|digit| *digit != 0) else {
            return;
        };
        let low = low + first as i32;
        if self.digits.is_empty() {
            self.low = low;
        } else if low < self.low {
            let below = (self.low - low) as usize;
            self.digits.splice(..0, std::iter::repeat_n(0, below));
            self.low = low;
        }
        let mut at = (low - self.low) as usize;
        let mut carry = 0;
        let mut rest = digits[first..].iter();
        loop {
            let digit = rest.next();
            if digit.is_none() && carry == 0 {
                break;
            }
            if self.digits.len() <= at {
                self.digits.resize(at + 1, 0);
            }
            let total = i64::from(self.digits[at]) + digit.unwrap_or(&0) + carry;
            (self.digits[at], carry) = balance(total);
            at += 1;
        }
        self.trim();
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &ExactSum) {
        if other.digits.is_empty() {
            return;
        }
        if self.digits.is_empty() {
            *self = other.clone();
            return;
        }
        let low = self.low.min(other.low);
        let high = (self.low + self.digits.len() as i32).max(other.low + other.digits.len() as i32);
        let mut wide = vec![0_i64; (high - low) as usize];
        for part in [&*self, other] {
            for (at, digit) in part.digits.iter().enumerate() {
                wide[(part.low - low) as usize + at] += i64::from(*digit);
            }
        }
        *self = ExactSum::balanced(low, wide);
    }

    /// Turns the sum into its negative.
    pub fn negate(&mut self) {
        let wide = self.digits.iter().map(|digit| -i64::from(*digit)).collect();
        *self = ExactSum::balanced(self.low, wide);
    }

    /// Whether the sum is 0.
    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The unique form of digits that may be out of range.
    fn balanced(low: i32, wide: Vec<i64>) -> ExactSum {
        let mut digits = Vec::with_capacity(wide.len() + 1);
        let mut carry = 0_i64;
        for digit in wide {
            let (digit, over) = balance(digit + carry);
            digits.push(digit);
            carry = over;
        }
        while carry != 0 {
            let (digit, over) = balance(carry);
            digits.push(digit);
            carry = over;
        }
        let mut sum = ExactSum { low, digits };
        sum.trim();
        sum
    }

    /// Leaves zeros at both ends away.
    fn trim(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        if zeros > 0 {
            self.digits.drain(..zeros);
        }
        self.low = if self.digits.is_empty() {
            0
        } else {
            self.low + zeros as i32
        };
    }

    /// The sum, rounded to the nearest `f64`, ties to even.
    pub fn value(&self) -> f64 {
        let Some(top) = self.digits.last() else { return 0.0 };
        if *top < 0 {
            let mut positive = self.clone();
            positive.negate();
            return -positive.value();
        }
        // Plain digits from 0 to 2^32 - 1.
        let mut borrow = 0_i64;
        let mut plain = Vec::with_capacity(self.digits.len());
        for digit in &self.digits {
            let total = i64::from(*digit) + borrow;
            borrow = total >> DIGIT_BITS;
            plain.push((total - (borrow << DIGIT_BITS)) as u32);
        }
        while plain.last() == Some(&0) {
            plain.pop();
        }
        let bit = |at: i32| at >= 0 && plain[(at / DIGIT_BITS) as usize] >> (at % DIGIT_BITS) & 1 == 1;
        let top = plain.len() as i32 * DIGIT_BITS - 1 - plain[plain.len() - 1].leading_zeros() as i32;
        // The weight of bit `b` is 2^(b + base); a subnormal result keeps fewer bits.
        let base = self.low * DIGIT_BITS - BIAS;
        let last = (top - 52).max(-1074 - base);
        let mut mantissa = (last..=top)
            .rev()
            .fold(0_u64, |bits, at| bits << 1 | u64::from(bit(at)));
        if bit(last - 1) && (mantissa & 1 == 1 || (0..last - 1).any(bit)) {
            mantissa += 1;
        }
        scale(mantissa, last + base)
    }
}

/// A digit of what may be out of its range, and what goes over to the next.
#[inline]
fn balance(total: i64) -> (i32, i64) {
    let carry = (total + (1 << 31)) >> DIGIT_BITS;
    ((total - (carry << DIGIT_BITS)) as i32, carry)
}

/// A finite number as digits, and the number of the first.
fn split(value: f64) -> (i32, [i64; 3]) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = if exponent == 0 {
        (fraction, -1074)
    } else {
        (fraction | 1 << 52, exponent - 1075)
    };
    let position = exponent + BIAS;
    let plain = u128::from(mantissa) << position.rem_euclid(DIGIT_BITS);
    let digits = [plain, plain >> DIGIT_BITS, plain >> (2 * DIGIT_BITS)].map(|part| i64::from(part as u32));
    let digits = if bits >> 63 == 1 {
        digits.map(|digit| -digit)
    } else {
        digits
    };
    (position.div_euclid(DIGIT_BITS), digits)
}

/// `mantissa` * 2^`exponent` for a mantissa of at most 53 bits (or 2^53) and an exact or infinite result.
fn scale(mantissa: u64, exponent: i32) -> f64 {
    let mut value = mantissa as f64;
    let mut exponent = exponent;
    while exponent > 1000 {
        value *= 2_f64.powi(1000);
        exponent -= 1000;
    }
    while exponent < -1000 {
        value *= 2_f64.powi(-37);
        exponent += 37;
    }
    value * 2_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> ExactSum {
        let mut total = ExactSum::default();
        for value in values {
            total.add(&ExactSum::of(*value));
        }
        total
    }

    fn finite() -> impl Strategy<Value = f64> {
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |v| v.is_finite())
    }

    proptest! {
        #[test]
        fn one_number_comes_back(value in finite()) {
            prop_assert_eq!(ExactSum::of(value).value() + 0.0, value + 0.0);
        }

        #[test]
        fn order_does_not_matter_and_parts_leave_no_trace(values in prop::collection::vec(finite(), 0..20)) {
            let forward = sum(&values);
            let backward = sum(&values.iter().rev().copied().collect::<Vec<_>>());
            prop_assert_eq!(&forward, &backward);
            let mut none = forward;
            none.negate();
            none.add(&backward);
            prop_assert!(none.is_zero());
        }

        #[test]
        fn numbers_are_added_as_sums_are(values in prop::collection::vec(finite(), 0..20)) {
            let mut numbers = ExactSum::default();
            values.iter().for_each(|value| numbers.add_number(*value));
            prop_assert_eq!(numbers, sum(&values));
        }

        #[test]
        fn two_numbers_round_as_the_processor_does(a in -1e15..1e15f64, b in finite()) {
            prop_assert_eq!(sum(&[a, b]).value(), a + b);
        }
    }

    #[test]
    fn what_cancels_leaves_what_is_small() {
        assert_eq!(sum(&[1e300, 1e-300, -1e300]).value(), 1e-300);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(sum(&[f64::MAX, f64::MAX]).value(), f64::INFINITY);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
    }
}
