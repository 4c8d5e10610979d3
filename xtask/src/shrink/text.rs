//! What can be taken out of a scenario's text so that less of it still goes wrong.

/// A scenario as lines of settings and tasks, each a list of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text {
    statements: Vec<Vec<String>>,
}

/// Steps and attributes that name another task.
const NAMES_A_TASK: [&str; 4] = ["wake", "signal", "fork", "parent"];

impl Text {
    /// Cuts the text that `resched demand` writes: statements begin at the margin, and two spaces
    /// stand between the items of a task.
    pub(crate) fn of(text: &str) -> Self {
        let mut statements: Vec<Vec<String>> = Vec::new();
        let says_something = |line: &&str| !line.trim().is_empty() && !line.starts_with('#');
        for line in text.lines().filter(says_something) {
            let continues = line.starts_with(' ');
            match statements.last_mut() {
                Some(last) if continues => last.extend(items(line)),
                _ => statements.push(items(line)),
            }
        }
        Self { statements }
    }

    /// The text, an item of a long statement a line: it is read by programs until the end.
    pub(crate) fn text(&self) -> String {
        let statement = |items: &Vec<String>| items.join("\n  ") + "\n";
        self.statements.iter().map(statement).collect()
    }

    /// How many items are left.
    pub(crate) fn len(&self) -> usize {
        self.statements.iter().map(Vec::len).sum()
    }

    /// Whether the first task that the kernel calls `name` has a critical section of a lock of which
    /// another task has one too.
    pub(crate) fn shares_a_lock(&self, name: &str) -> bool {
        let comm = [format!("comm {name}"), format!("comm \"{name}\"")];
        let is_called_so = |items: &Vec<String>| {
            let first = items.first().map(|first| first.trim_matches('"'));
            first == Some(name) || items.iter().any(|item| comm.contains(item))
        };
        let Some(own) = self.statements.iter().position(is_called_so) else { return false };
        let locks = |statement: usize| {
            let sections = self.sections(statement).into_iter();
            sections.filter_map(move |[begin, _]| taken(&self.statements[statement][begin]))
        };
        let others = || (0..self.statements.len()).filter(|other| *other != own).flat_map(locks);
        locks(own).any(|lock| others().any(|other| other == lock))
    }

    /// With another time at which everything ends, in nanoseconds.
    fn ending_at(&self, end: u64) -> Self {
        let mut other = self.clone();
        let statements = other.statements.iter_mut();
        for item in statements.filter_map(|items| items.first_mut()) {
            if item.starts_with("end ") {
                *item = format!("end {}.{:06}", end / 1_000_000, end % 1_000_000);
            }
        }
        other
    }

    /// The time that a setting of one word names, in nanoseconds.
    fn time(&self, setting: &str) -> Option<u64> {
        let mut firsts = self.statements.iter().filter_map(|items| items.first());
        let (whole, decimals) = firsts.find_map(|item| {
            let (word, time) = item.split_once(' ')?;
            (word == setting).then(|| time.split_once('.').unwrap_or((time, "")))
        })?;
        let decimals: u64 = format!("{decimals:0<6}").parse().ok()?;
        Some(whole.parse::<u64>().ok()? * 1_000_000 + decimals)
    }

    /// Without these statements, and without what names them.
    fn without_statements(&self, gone: std::ops::Range<usize>) -> Self {
        let names: Vec<&String> =
            self.statements[gone.clone()].iter().filter_map(|s| s.first()).collect();
        let is_orphan = |item: &String| {
            let parts = item.split_once(' ');
            parts.is_some_and(|(word, rest)| {
                NAMES_A_TASK.contains(&word) && names.iter().any(|name| *name == rest)
            })
        };
        let keep = |(n, items): (usize, &Vec<String>)| {
            let rest = || items.iter().filter(|item| !is_orphan(item)).cloned().collect();
            // Without its start a loop would fill all the time since the clock's zero.
            let is_start = items.first().is_some_and(|first| first.starts_with("start "));
            (is_start || !gone.contains(&n)).then(rest)
        };
        Self { statements: self.statements.iter().enumerate().filter_map(keep).collect() }
    }

    fn without_items(&self, statement: usize, gone: &[usize]) -> Self {
        let mut less = self.clone();
        let mut place = 0;
        less.statements[statement].retain(|_| {
            place += 1;
            !gone.contains(&(place - 1))
        });
        less
    }

    /// Every lock of a statement with its release: one does not go without the other.
    fn sections(&self, statement: usize) -> Vec<[usize; 2]> {
        let items = &self.statements[statement];
        let release = |from: usize, lock: &str| {
            let wanted = format!("unlock {lock}");
            items.iter().skip(from).position(|item| *item == wanted).map(|at| from + at)
        };
        let section = |(at, item): (usize, &String)| {
            let lock = taken(item)?;
            release(at, lock).map(|end| [at, end])
        };
        items.iter().enumerate().filter_map(section).collect()
    }
}

/// The lock that a step takes.
fn taken(item: &str) -> Option<&str> {
    let (word, lock) = item.split_once(' ')?;
    matches!(word, "lock" | "lock-interruptible" | "trylock" | "holds").then_some(lock)
}

/// The items of a line; two spaces between quotes separate nothing.
fn items(line: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.trim_end().chars() {
        let item = items.last_mut().expect("there is always one");
        if !quoted && c == ' ' && item.ends_with(' ') {
            item.pop();
            items.push(String::new());
            continue;
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        item.push(c);
    }
    let is_one = |item: &String| !item.is_empty();
    items.iter().map(|item| item.trim().to_owned()).filter(is_one).collect()
}

/// The smallest text that still goes wrong and that taking out one thing after another leads to.
///
/// # Errors
///
/// When `goes_wrong` fails.
pub(crate) fn smallest<E>(
    text: Text,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    /// First in pieces of an eighth of what there is, then finer, and at last one by one.
    const FINENESS: [usize; 4] = [8, 64, 512, usize::MAX];
    let mut text = earlier_end(text, goes_wrong)?;
    for fineness in FINENESS {
        loop {
            let before = text.len();
            text = fewer_statements(text, goes_wrong)?;
            for statement in 0..text.statements.len() {
                let least = (before / fineness).max(1);
                text = fewer_items(text, statement, least, goes_wrong)?;
                if least == 1 {
                    text = fewer_sections(text, statement, goes_wrong)?;
                }
            }
            if text.len() == before {
                break;
            }
        }
    }
    Ok(text)
}

/// What happens behind the end is no matter; it then goes in large pieces.
fn earlier_end<E>(
    text: Text,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    const STEPS: u64 = 32;
    let start = text.time("start").unwrap_or(0);
    let mut text = text;
    'again: while let Some(end) = text.time("end") {
        for step in 1..STEPS {
            // From the earliest one on: a later one goes wrong for sure, and this may.
            let less = text.ending_at(start + end.saturating_sub(start) / STEPS * step);
            if less != text && goes_wrong(&less)? {
                text = less;
                continue 'again;
            }
        }
        break;
    }
    Ok(text)
}

fn fewer_statements<E>(
    text: Text,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    let mut text = text;
    let mut size = text.statements.len();
    while size > 0 {
        let mut at = 0;
        while at < text.statements.len() {
            let end = (at + size).min(text.statements.len());
            let less = text.without_statements(at..end);
            if less != text && goes_wrong(&less)? { text = less } else { at = end }
        }
        size /= 2;
    }
    Ok(text)
}

fn fewer_items<E>(
    text: Text,
    statement: usize,
    least: usize,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    let mut text = text;
    let mut size = text.statements[statement].len();
    while size >= least {
        // The first item is the name.
        let mut at = 1;
        while at < text.statements[statement].len() {
            let end = (at + size).min(text.statements[statement].len());
            let less = text.without_items(statement, &(at..end).collect::<Vec<_>>());
            if goes_wrong(&less)? { text = less } else { at = end }
        }
        size /= 2;
    }
    Ok(text)
}

fn fewer_sections<E>(
    text: Text,
    statement: usize,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    let mut text = text;
    let mut at = 0;
    while let Some(section) = text.sections(statement).get(at) {
        let less = text.without_items(statement, section);
        if goes_wrong(&less)? { text = less } else { at += 1 }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpus 2\nend 40\nmutex m0 0xff\n\n\
        low  tid 7  run 1  lock m0  run 2\n    wake \"a  b\"  unlock m0  run 3\n\
        \"a  b\"  wait  run 1\n\
        high  parent low  forked  lock m0  unlock m0  ...\n";

    #[test]
    fn nothing_is_lost_by_cutting() {
        let text = Text::of(TEXT);
        assert_eq!(text.statements.len(), 6);
        assert_eq!(text.statements[3][5], "wake \"a  b\"");
        assert_eq!(Text::of(&text.text().replace("\n  ", "\n    ")), text);
    }

    #[test]
    fn who_is_gone_is_named_no_more() {
        let text = Text::of(TEXT).without_statements(3..5).text();
        assert_eq!(
            text,
            "cpus 2\nend 40\nmutex m0 0xff\nhigh\n  forked\n  lock m0\n  unlock m0\n  ...\n"
        );
    }

    #[test]
    fn what_makes_no_difference_goes() {
        // It goes wrong while low computes in a section that is closed.
        let mut checks = 0;
        let mut goes_wrong = |text: &Text| {
            checks += 1;
            let text = text.text();
            let closed = text.matches("  lock m0").count() == text.matches("unlock m0").count();
            Ok::<_, ()>(text.contains("low") && text.contains("run 3") && closed)
        };
        let less = smallest(Text::of(TEXT), &mut goes_wrong).expect("it cannot fail");
        assert_eq!(less.text(), "low\n  run 3\n");
        assert!(checks < 60, "{checks} checks");
    }
}
