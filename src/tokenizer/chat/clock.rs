//! The `strftime_now` of templates that tell a model the date: Python's formats, in English.

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// `format` at `now`, seconds since 1970 on the local clock.
///
/// Errors for a directive that is none of Python's common ones, naming it.
pub(super) fn strftime(now: i64, format: &str) -> Result<String, Error> {
    let (days, seconds) = (now.div_euclid(86_400), now.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let half = (hour + 11) % 12 + 1;
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[(days + 4).rem_euclid(7) as usize];
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = chars.next();
        let bare = directive == Some('-');
        if bare {
            directive = chars.next();
        }
        let padded =
            |value: i64, width: usize| if bare { value.to_string() } else { format!("{value:0width$}") };
        text += &match directive {
            Some('Y') => year.to_string(),
            Some('y') => padded(year.rem_euclid(100), 2),
            Some('m') => padded(month, 2),
            Some('d') => padded(day, 2),
            Some('j') => padded(days - first_of(year) + 1, 3),
            Some('H') => padded(hour, 2),
            Some('I') => padded(half, 2),
            Some('M') => padded(minute, 2),
            Some('S') => padded(second, 2),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('%') => "%".to_owned(),
            other => {
                let other = other.map_or_else(String::new, String::from);
                let detail = format!("strftime_now: `%{other}` is not supported");
                return Err(Error::new(ErrorKind::InvalidOperation, detail));
            }
        };
    }
    Ok(text)
}

/// Year, month and day of a number of days since 1970, in the Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // since 1 March of the year 0
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // 0 is March
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970 to the first of a year.
fn first_of(year: i64) -> i64 {
    let before = year - 1;
    let leap_days = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    (year - 1970) * 365 + leap_days - 477
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn dates_are_pythons() {
        let all = "%Y-%m-%d %H:%M:%S %y %j %I%p %A %a %B %b %-d %-m %%";
        // 2024-02-29 13:05:09, a Thursday
        assert_eq!(
            strftime(1_709_211_909, all).expect("known"),
            "2024-02-29 13:05:09 24 060 01PM Thursday Thu February Feb 29 2 %"
        );
        assert_eq!(strftime(-1, "%d %b %Y %H %I%p %j").expect("known"), "31 Dec 1969 23 11PM 365");
        assert_eq!(strftime(0, "%A %-I").expect("known"), "Thursday 12");
        assert_eq!(strftime(951_782_400, "%d %m %j").expect("known"), "29 02 060");
        let error = strftime(0, "%Q").expect_err("no such directive");
        assert!(error.to_string().contains("`%Q` is not supported"), "{error}");
    }
}
