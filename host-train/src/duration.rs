//! Durations for people.

use std::time::Duration;

/// Formats a duration: `3.2 s`, `42 s`, `4 min 05 s`, `42 min`, `2 h 10 min`,
/// `3 d 4 h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // A minute is not 60 seconds and an hour not 60 minutes: round first.
    let seconds = seconds.round() as u64;
    let minutes = if seconds < 600 {
        seconds / 60
    } else {
        (seconds + 30) / 60
    };
    match minutes {
        0 => format!("{seconds} s"),
        1..10 => format!("{minutes} min {:02} s", seconds % 60),
        10..60 => format!("{minutes} min"),
        60..1440 => format!("{} h {:02} min", minutes / 60, minutes % 60),
        _ => {
            let hours = (minutes + 30) / 60;
            format!("{} d {} h", hours / 24, hours % 24)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_fits_the_length() {
        for (seconds, text) in [
            (0.0, "0.0 s"),
            (0.04, "0.0 s"),
            (3.21, "3.2 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (245.0, "4 min 05 s"),
            (599.4, "9 min 59 s"),
            (599.6, "10 min"),
            (2520.0, "42 min"),
            (3569.0, "59 min"),
            (3571.0, "1 h 00 min"),
            (7800.0, "2 h 10 min"),
            (86_369.0, "23 h 59 min"),
            (86_371.0, "1 d 0 h"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }
}
