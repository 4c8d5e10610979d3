//! Names that contain anything, as words of a scenario.

use std::borrow::Cow;
use std::fmt;

/// What may stand in a name without quotes, beside letters and digits.
const PLAIN: [char; 5] = ['_', '.', '-', '/', ':'];

/// Whether a word can be a name as it stands.
pub(super) fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(&c))
}

/// What a word says: itself, or what is in its quotes; `None` when the quotes are not well-formed.
pub(super) fn unquoted(word: &str) -> Option<Cow<'_, str>> {
    let Some(rest) = word.strip_prefix('"') else {
        return (!word.contains('"')).then_some(Cow::Borrowed(word));
    };
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(escaped(&mut chars)?),
            other => text.push(other),
        }
    }
    chars.next().is_none().then_some(Cow::Owned(text))
}

fn escaped(chars: &mut std::str::Chars<'_>) -> Option<char> {
    match chars.next()? {
        '"' => Some('"'),
        '\\' => Some('\\'),
        'u' => {
            let text = chars.as_str().strip_prefix('{')?;
            // Six digits say every character there is.
            let end = text.bytes().take(7).position(|b| b == b'}')?;
            *chars = text[end + 1..].chars();
            u32::from_str_radix(&text[..end], 16).ok().and_then(char::from_u32)
        }
        _ => None,
    }
}

/// A name as a word that reads back as the same name, whatever it contains, and as no keyword.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.0.chars().next();
        let begins_well = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == '/');
        if begins_well && is_plain(self.0) && !super::is_keyword(self.0) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                ' ' => f.write_str(" ")?,
                c if c.is_ascii_graphic() || c.is_alphanumeric() => write!(f, "{c}")?,
                c => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for (name, word) in [
            ("low", "low"),
            ("kworker/0:1-events", "kworker/0:1-events"),
            ("/user.slice/a b", "\"/user.slice/a b\""),
            ("fifo", "fifo"),
            ("cpus", "\"cpus\""),
            ("5", "\"5\""),
            ("--", "\"--\""),
            ("", "\"\""),
            ("a#b\"c\\d", "\"a#b\\\"c\\\\d\""),
            ("\u{1b}[31m\n", "\"\\u{1b}[31m\\u{a}\""),
            ("(sd-pam)", "\"(sd-pam)\""),
            ("\u{fffd}\u{202e}", "\"\\u{fffd}\\u{202e}\""),
            ("Тест", "\"Тест\""),
        ] {
            assert_eq!(Quoted(name).to_string(), word);
            assert_eq!(unquoted(word).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for word in [
            "\"",
            "\"a",
            "a\"b\"",
            "\"a\"b",
            "\"\\",
            "\"\\x\"",
            "\"\\u{\"",
            "\"\\u{}\"",
            "\"\\u{d800}\"",
            "\"\\u{1234567}\"",
            "\"\\ué\"",
        ] {
            assert_eq!(unquoted(word), None, "{word}");
        }
    }
}
