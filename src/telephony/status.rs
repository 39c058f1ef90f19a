//! Reads FreeSWITCH's reply to `status`.

/// The maximum number of new sessions per second, from the reply to `status`; `None` if the reply does not state it.
pub(crate) fn sessions_per_second(status: &str) -> Option<u32> {
    let (_, limit) = status.split_once(" per Sec out of max ")?;
    limit.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is that of the capture `tests/captures/inbound-link`.
    #[test]
    fn the_limit_is_read() {
        let said = "1 session(s) - peak 4, last 5min 4 \n0 session(s) per Sec out of max 30, peak 4, last 5min 2 \n";
        assert_eq!(sessions_per_second(said), Some(30));
        assert_eq!(sessions_per_second("-ERR"), None);
        assert_eq!(sessions_per_second("0 session(s) per Sec out of max many"), None);
    }
}
