//! `muster top` on a screen of any size. Pure: the same state gives the same picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row as Cells, Table, TableState};

use super::state::{Column, Host, Row, State};
use crate::cli::show;
use crate::model::Liveness;

/// Hosts have at most this part of the screen.
const HOSTS_PART: u16 = 3;
/// From this width on there is room for bars beside the numbers of hosts.
const BARS_FROM: u16 = 60;
/// The longest bar.
const BAR_MAX: u16 = 40;
/// A shorter bar beside a row shows nothing; a usual terminal has no room for one.
const ROW_BAR_MIN: u16 = 20;
/// Columns beside the bars of a host: its state, replicas, and numbers.
const HOST_WORDS: u16 = 62;

/// Draws it all.
pub(super) fn all(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let hosts = state.hosts();
    let most = (area.height / HOSTS_PART).max(2);
    let n_hosts = u16::try_from(hosts.len() + 1).unwrap_or(u16::MAX).min(most);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(n_hosts),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [title, top, _, table, foot] = parts.areas(area);
    let look = Look { coloured: state.coloured };
    frame.render_widget(Paragraph::new(look.title(state)), title);
    look.hosts(frame, top, &hosts);
    look.rows(frame, table, state);
    frame.render_widget(Paragraph::new(look.foot(state)), foot);
}

/// How it looks: with colours, or without.
struct Look {
    coloured: bool,
}

impl Look {
    fn of(&self, colour: Color) -> Style {
        if self.coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn title(&self, state: &State) -> Line<'static> {
        let [apps, services, ready, wanted] = state.totals();
        let plural = |n: usize, word: &str| match n {
            1 => format!("1 {word}"),
            n => format!("{n} {word}s"),
        };
        let colour = if ready < wanted { Color::Yellow } else { Color::Green };
        let mut spans = vec![
            Span::styled("muster top", Style::new().add_modifier(Modifier::BOLD)),
            Span::raw(format!("  {}, {}, ", plural(apps, "app"), plural(services, "service"))),
            Span::styled(format!("{ready} of {wanted} replicas ready"), self.of(colour)),
        ];
        let silent = state.silent();
        if !silent.is_empty() {
            let words = format!("  no word from {}", silent.join(", "));
            spans.push(Span::styled(words, self.of(Color::Red)));
        }
        Line::from(spans)
    }

    fn hosts(&self, frame: &mut Frame<'_>, area: Rect, hosts: &[Host]) {
        let longest = hosts.iter().map(|host| host.name.chars().count()).max().unwrap_or(0);
        let name = u16::try_from(longest.clamp(4, 20)).unwrap_or(20);
        let left = area.width.saturating_sub(HOST_WORDS + name);
        let bar = if area.width < BARS_FROM { 0 } else { (left / 2).min(BAR_MAX) };
        let mut head = vec!["HOST", "STATE", "REPLICAS", "CPU", "", "MEMORY", ""];
        let mut widths = vec![name, 8, 8, 16, bar, 19, bar];
        if bar < 4 {
            for column in [6, 4] {
                head.remove(column);
                widths.remove(column);
            }
        }
        let room = usize::from(area.height.saturating_sub(1));
        let hidden = hosts.len().saturating_sub(room);
        let shown = if hidden > 0 { room.saturating_sub(1) } else { room };
        let row = |host: &Host| {
            let (state, colour) = match host.liveness {
                Liveness::Alive => ("alive", Color::Green),
                Liveness::Suspect => ("suspect", Color::Yellow),
                Liveness::Dead => ("dead", Color::Red),
            };
            let (cpus, all) = host.cpus;
            let (memory, size) = host.memory;
            let parts = [part(cpus, all), part(memory as f64, size as f64)];
            let words = [
                format!("{:>5} of {all} CPUs", format!("{cpus:.2}")),
                format!("{:>7} of {}", show::bytes(memory), show::bytes(size)),
            ];
            let mut cells = vec![
                Cell::from(host.name.clone()),
                Cell::from(Span::styled(state, self.of(colour))),
                Cell::from(format!("{:>8}", host.replicas)),
            ];
            for (words, part) in words.into_iter().zip(parts) {
                cells.push(Cell::from(words));
                if bar >= 4 {
                    cells.push(Cell::from(self.bar(part, bar)));
                }
            }
            Cells::new(cells)
        };
        let mut rows: Vec<Cells<'_>> = hosts.iter().take(shown).map(row).collect();
        if hidden > 0 {
            let words = format!("{} more", hosts.len() - shown);
            rows.push(Cells::new([Cell::from(words)]));
        }
        let header = Cells::new(head).style(Style::new().add_modifier(Modifier::BOLD));
        let table = Table::new(rows, widths.into_iter().map(Constraint::Length));
        frame.render_widget(table.header(header).column_spacing(2), area);
    }

    /// `████░░░░`.
    fn bar(&self, part: f64, width: u16) -> Line<'static> {
        let colour = match part {
            part if part >= 0.9 => Color::Red,
            part if part >= 0.7 => Color::Yellow,
            _ => Color::Green,
        };
        self.bar_of(part, width, self.of(colour))
    }

    fn bar_of(&self, part: f64, width: u16, style: Style) -> Line<'static> {
        let full = (part.clamp(0.0, 1.0) * f64::from(width)).round() as usize;
        let rest = usize::from(width).saturating_sub(full);
        Line::from(vec![
            Span::styled("█".repeat(full), style),
            Span::styled("░".repeat(rest), self.of(Color::DarkGray)),
        ])
    }

    fn rows(&self, frame: &mut Frame<'_>, area: Rect, state: &State) {
        let rows = state.rows();
        if rows.is_empty() {
            let words = match state.filter.is_empty() {
                true if state.open.is_some() => "no replica of it was measured yet",
                true => "nothing runs; `muster up` starts an app",
                false => "nothing has that in its name",
            };
            return frame.render_widget(Paragraph::new(words), area);
        }
        // The place of a replica is the name of a host.
        let longest = |of: fn(&Row) -> &str| {
            let longest = rows.iter().map(|row| of(row).chars().count()).max();
            u16::try_from(longest.unwrap_or(0)).unwrap_or(u16::MAX)
        };
        let place = longest(|row| &row.place).clamp(7, 20);
        let memory = if state.open.is_some() { 17 } else { 8 };
        let spacing = if area.width < 100 { 1 } else { 3 };
        let numbers: u16 = [place, 8, memory, 8, 9, 9, 6 * spacing].iter().sum();
        let most = area.width.saturating_sub(numbers);
        let name = longest(|row| &row.name).max(12).min(most.max(8));
        let mut widths = vec![name, place, 8, memory, 8, 9, 9];
        let left = most.saturating_sub(name + spacing);
        let bar = if left < ROW_BAR_MIN { 0 } else { left.min(BAR_MAX) };
        widths.push(bar);
        let amount = |row: &Row| row.amount(state.sort);
        let largest = rows.iter().map(amount).fold(0.0, f64::max);
        let mut position = TableState::new().with_selected(Some(state.position(&rows)));
        let cells = rows.iter().map(|row| {
            let bar = self.bar_of(part(amount(row), largest), bar, self.of(Color::Cyan));
            Cells::new(self.row(row).into_iter().chain([Cell::from(bar)]))
        });
        let table = Table::new(cells, widths.into_iter().map(Constraint::Length))
            .header(self.head(state))
            .column_spacing(spacing)
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
        frame.render_stateful_widget(table, area, &mut position);
    }

    fn head(&self, state: &State) -> Cells<'static> {
        Cells::new(Column::ALL.map(|column| {
            let words = heading(column, state.open.is_some());
            let is_sorted = column == state.sort;
            let arrow = if state.reversed == is_name(column) { '▼' } else { '▲' };
            let words = if is_sorted { format!("{words}{arrow}") } else { words.to_owned() };
            let style = Style::new().add_modifier(Modifier::BOLD);
            let style = if is_sorted { style.patch(self.of(Color::Cyan)) } else { style };
            let line = Line::styled(words, style);
            Cell::from(if is_name(column) { line } else { line.right_aligned() })
        }))
    }

    fn row(&self, row: &Row) -> [Cell<'static>; 7] {
        let rate = |bytes: f64| format!("{}/s", show::decimal_bytes(bytes.max(0.0) as u64));
        let memory = match row.memory_limit {
            Some(limit) => format!("{} / {}", show::bytes(row.memory), show::bytes(limit)),
            None => show::bytes(row.memory),
        };
        let connections = match row.memory_limit {
            Some(_) => format!("{}", row.connections),
            None => format!("{:.1}", row.connections),
        };
        let place = if row.is_short { self.of(Color::Yellow) } else { Style::new() };
        let right = |words: String| Cell::from(Line::from(words).right_aligned());
        [
            Cell::from(row.name.clone()),
            Cell::from(Line::styled(row.place.clone(), place)),
            right(row.cpus.map_or_else(|| "-".to_owned(), |cpus| format!("{:.1}%", cpus * 100.0))),
            right(memory),
            right(connections),
            right(rate(row.received)),
            right(rate(row.sent)),
        ]
    }

    fn foot(&self, state: &State) -> Line<'static> {
        if let Some(why) = &state.trouble {
            let words = format!("this is old: {why}");
            return Line::styled(words, self.of(Color::Red));
        }
        if state.typing {
            return Line::from(format!("filter: {}_   Enter keeps it, Esc drops it", state.filter));
        }
        let back = match (&state.filter, &state.open) {
            (filter, _) if !filter.is_empty() => format!("Esc drops filter `{filter}`"),
            (_, Some((_, service))) => format!("replicas of {service}, Esc back"),
            (_, None) => "Enter replicas".to_owned(),
        };
        let keys = format!("q quit  ↑↓ select  ←→ sort  r reverse  / filter  {back}");
        Line::styled(keys, self.of(Color::DarkGray))
    }
}

fn is_name(column: Column) -> bool {
    match column {
        Column::Name | Column::Place => true,
        Column::Cpu | Column::Memory | Column::Connections | Column::Received | Column::Sent => {
            false
        }
    }
}

fn heading(column: Column, of_replicas: bool) -> &'static str {
    match (column, of_replicas) {
        (Column::Name, false) => "SERVICE",
        (Column::Name, true) => "REPLICA",
        (Column::Place, false) => "READY",
        (Column::Place, true) => "HOST",
        (Column::Cpu, _) => "CPU",
        (Column::Memory, _) => "MEMORY",
        (Column::Connections, false) => "CONN/S",
        (Column::Connections, true) => "CONNS",
        (Column::Received, _) => "IN",
        (Column::Sent, _) => "OUT",
    }
}

/// How much of all there is.
fn part(taken: f64, all: f64) -> f64 {
    if all > 0.0 { taken / all } else { 0.0 }
}
