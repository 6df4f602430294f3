//! Quantiles of measured values.

/// The smallest value that at least so many percent of the values do not exceed. The values are sorted.
pub fn quantile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}
