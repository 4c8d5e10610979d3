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
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
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
            (!gone.contains(&n)).then(rest)
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
            let (word, lock) = item.split_once(' ')?;
            let begins = matches!(word, "lock" | "lock-interruptible" | "trylock" | "holds");
            begins.then(|| release(at, lock)).flatten().map(|end| [at, end])
        };
        items.iter().enumerate().filter_map(section).collect()
    }
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
    let mut text = text;
    loop {
        let before = text.len();
        text = fewer_statements(text, goes_wrong)?;
        for statement in 0..text.statements.len() {
            text = fewer_items(text, statement, goes_wrong)?;
            text = fewer_sections(text, statement, goes_wrong)?;
        }
        if text.len() == before {
            return Ok(text);
        }
    }
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
            if goes_wrong(&less)? { text = less } else { at = end }
        }
        size /= 2;
    }
    Ok(text)
}

fn fewer_items<E>(
    text: Text,
    statement: usize,
    goes_wrong: &mut dyn FnMut(&Text) -> Result<bool, E>,
) -> Result<Text, E> {
    let mut text = text;
    let mut size = text.statements[statement].len();
    while size > 0 {
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
