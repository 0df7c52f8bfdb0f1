//! The load of the machine while it measures: how much processor time other programs took.

use std::fs;

use serde::Serialize;

use crate::bilingual::Bilingual;
use crate::numbers::Measured;

/// Processor times in ticks, whose length does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    /// Of all processors, idle times included.
    all: u64,
    /// Of all programs.
    programs: u64,
    /// Of this program.
    own: u64,
}

/// Measures the processor time that other programs take.
#[derive(Debug)]
pub struct LoadMeter(Option<Ticks>);

/// The load of the machine during a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MachineLoad {
    /// The number of processors.
    pub processors: usize,
    /// The load average of the last minute before the comparison, if known.
    pub average_before: Option<f64>,
    /// The share of the processors' time that other programs took meanwhile, if known.
    pub others_share: Option<f64>,
    /// Tokens whose delay was measured.
    pub tokens: u64,
    /// Those that arrived while the measuring side stalled.
    pub stalled_tokens: u64,
    /// Runs of cells, repetitions included.
    pub runs: u64,
    /// Runs that were set aside.
    pub runs_set_aside: u64,
}

/// From this share on, other programs are likely to delay a token.
const BUSY_SHARE: f64 = 0.25;

/// From this share of stalled tokens on, the measuring side was busy itself: one in this many.
const BUSY_STALLS: u64 = 50;

impl LoadMeter {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(Ticks::now())
    }

    /// The share of all processor time since the start that other programs took; `None` if the
    /// system does not tell, or if too little time has passed.
    pub fn others_share(&self) -> Option<f64> {
        let (before, after) = (self.0?, Ticks::now()?);
        after.others_since(before)
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        Self::read(&read("/proc/stat")?, &read("/proc/self/stat")?)
    }

    /// Of proc_stat(5) and proc_pid_stat(5). Interrupts belong to no program, since those of the
    /// comparison's own packets are among them; time that was stolen from a virtual machine does.
    fn read(machine: &str, own: &str) -> Option<Self> {
        let fields: Vec<u64> = machine
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        let [user, nice, system, idle, waiting, interrupts, soft_interrupts, stolen, ..] =
            fields[..]
        else {
            return None;
        };
        // The name of the program may contain spaces and parentheses.
        let (_, own) = own.rsplit_once(')')?;
        let own: Vec<&str> = own.split_whitespace().collect();
        let own = own.get(11)?.parse::<u64>().ok()? + own.get(12)?.parse::<u64>().ok()?;
        let programs = user + nice + system + stolen;
        Some(Self { all: programs + idle + waiting + interrupts + soft_interrupts, programs, own })
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^52")]
    fn others_since(self, before: Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let programs = self.programs.saturating_sub(before.programs);
        let others = programs.saturating_sub(self.own.saturating_sub(before.own));
        Some(others as f64 / all as f64)
    }
}

impl MachineLoad {
    /// With what the runs of the cells tell.
    pub fn of(
        processors: usize,
        average_before: Option<f64>,
        others_share: Option<f64>,
        cells: &[Measured],
    ) -> Self {
        let mut load = Self { processors, average_before, others_share, ..Self::default() };
        for run in cells.iter().flat_map(|measured| &measured.runs) {
            load.tokens += run.tokens;
            load.stalled_tokens += run.stalled_tokens;
            load.runs += 1;
            load.runs_set_aside += u64::from(run.is_set_aside);
        }
        load
    }

    /// The load average of the last minute (proc_loadavg(5)).
    pub fn average() -> Option<f64> {
        fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Whether the times are those of a busy machine.
    pub fn is_busy(&self) -> bool {
        self.others_share.is_some_and(|share| share >= BUSY_SHARE)
            || (self.stalled_tokens > 0 && self.stalled_tokens * BUSY_STALLS >= self.tokens)
    }

    /// What a reader has to know before the first number.
    pub fn note(&self) -> Bilingual {
        let used = self.used();
        let (stalled, tokens) = (self.stalled_tokens, self.tokens);
        let (aside, runs) = (self.runs_set_aside, self.runs);
        if self.is_busy() {
            return Bilingual::new(
                format!(
                    "This machine was busy while it measured: {}; {stalled} of {tokens} tokens arrived while the measuring side stalled and are left out of the \
                     delays; {aside} of {runs} runs were set aside. Compare medians only, or measure again on a quiet machine. Counts, bytes and verdicts do not \
                     depend on the load.",
                    used.en
                ),
                format!(
                    "测量期间这台机器很忙：{}；{tokens} 个 token 中有 {stalled} 个到达时测量端正处于停顿，已从延迟中剔除；{runs} 轮测量中有 {aside} 轮被搁置。\
                     请只比较中位数，或在空闲的机器上重新测量。计数、字节数与判定不受负载影响。",
                    used.zh
                ),
            );
        }
        Bilingual::new(
            format!(
                "Load: {}; {stalled} of {tokens} tokens arrived while the measuring side stalled; {aside} of {runs} runs were set aside.",
                used.en
            ),
            format!(
                "负载：{}；{tokens} 个 token 中有 {stalled} 个到达时测量端正处于停顿；{runs} 轮测量中有 {aside} 轮被搁置。",
                used.zh
            ),
        )
    }

    fn used(&self) -> Bilingual {
        let processors = self.processors;
        match self.others_share {
            #[expect(clippy::cast_precision_loss, reason = "a machine has few processors")]
            Some(share) => {
                let used = share * processors as f64;
                Bilingual::new(
                    format!("other programs used {used:.1} of its {processors} processors"),
                    format!("其他程序占用了 {processors} 个处理器中的 {used:.1} 个"),
                )
            }
            None => Bilingual::new(
                format!("what other programs used of its {processors} processors is not known"),
                format!("其他程序占用了 {processors} 个处理器中的多少不可知"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "7 (we (i) r) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 4 0 0";

    fn ticks(machine: [u64; 8], [user, system]: [u64; 2]) -> Ticks {
        let machine = machine.map(|field| field.to_string()).join(" ");
        let own = OWN.replace("{user}", &user.to_string()).replace("{system}", &system.to_string());
        Ticks::read(&format!("cpu  {machine} 0 0\ncpu0 1 2 3\n"), &own).unwrap()
    }

    #[test]
    fn what_others_used_is_all_but_idle_times_interrupts_and_our_own() {
        let before = ticks([100, 0, 100, 1000, 50, 5, 5, 0], [30, 10]);
        let after = ticks([160, 10, 120, 1080, 60, 10, 10, 5], [60, 20]);
        // 60 + 10 + 20 + 5 of programs, 40 of them ours, of 195 in all.
        assert_eq!(after.others_since(before), Some(55.0 / 195.0));
        assert_eq!(before.others_since(before), None, "no time has passed");
        assert_eq!(Ticks::read("intr 5", OWN), None);
    }

    #[test]
    fn a_busy_machine_is_said_first() {
        let quiet = MachineLoad {
            processors: 2,
            average_before: None,
            others_share: Some(0.05),
            tokens: 1000,
            stalled_tokens: 2,
            runs: 20,
            runs_set_aside: 1,
        };
        assert!(!quiet.is_busy());
        assert!(quiet.note().en.starts_with("Load: other programs used 0.1 of its 2 processors"));
        let busy = MachineLoad { others_share: Some(0.5), ..quiet.clone() };
        assert!(busy.is_busy() && busy.note().en.starts_with("This machine was busy"));
        assert!(busy.note().zh.starts_with("测量期间这台机器很忙"));
        let stalled = MachineLoad { stalled_tokens: 20, ..quiet.clone() };
        assert!(stalled.is_busy());
        let unknown = MachineLoad { others_share: None, ..quiet };
        assert!(!unknown.is_busy() && unknown.note().en.contains("not known"));
    }
}
