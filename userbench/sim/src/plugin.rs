// SPDX-License-Identifier: GPL-2.0

//! A plugin for QEMU that makes of each CPU of the guest a slow core: one of so few instructions a
//! second that the host, with fewer cores, can execute those of all of them in time.
//!
//! Each CPU counts its instructions, and of those that repeat (`rep movs`, `rep stos`) each store,
//! which is what QEMU makes of them too: as many as a loop would have. Whenever they are a quantum, it
//! sleeps until they should be over. Time is the host's, as is whatever the guest does with it. CPUs
//! are slow only in regions that the guest's program marks; each is reported as a line of JSON.
//!
//! ```text
//! qemu-system-x86_64 -plugin libslow_cores.so,mips=20,quantum_us=500,out=regions.json ...
//! ```

use anyhow::{Context, Result, bail};
use common::{
    mark::{INSTRUCTION, Mark},
    record::Mode,
    region::{Cores, Region},
};
use nix::sys::prctl;
use qemu_plugin_sys::*;
use serde::Serialize;
use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fs::File,
    io::Write,
    mem::offset_of,
    ptr::null_mut,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};
use vcpu::{Figures, Vcpu, now};

mod vcpu;

#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = QEMU_PLUGIN_VERSION as c_int;

static SIMULATOR: OnceLock<Simulator> = OnceLock::new();

struct Simulator {
    cores: Cores,
    /// In instructions.
    quantum: u64,
    vcpus: Scoreboard,
    /// Since when the CPUs are slow; 0: they are not.
    slow_since: AtomicU64,
    recorder: Mutex<Recorder>,
}

/// QEMU's array of what is known of each CPU.
struct Scoreboard(*mut qemu_plugin_scoreboard);

// SAFETY: QEMU's functions on it may be called in any thread, and `Vcpu` is `Sync`.
unsafe impl Send for Scoreboard {}
// SAFETY: As above.
unsafe impl Sync for Scoreboard {}

impl Scoreboard {
    fn new() -> Self {
        // SAFETY: This may always be called. What is new is zeroed, as a `Vcpu` may be.
        Self(unsafe { qemu_plugin_scoreboard_new(size_of::<Vcpu>()) })
    }

    fn with<R>(&self, index: c_uint, f: impl FnOnce(&Vcpu) -> R) -> R {
        // SAFETY: QEMU has an entry of this size for each CPU, and moves them only while no CPU
        // executes anything, callbacks included.
        f(unsafe { &*qemu_plugin_scoreboard_find(self.0, index).cast() })
    }

    fn figures(&self) -> Vec<Figures> {
        // SAFETY: This may always be called.
        let count = unsafe { qemu_plugin_num_vcpus() } as c_uint;
        (0..count)
            .map(|index| self.with(index, Vcpu::figures))
            .collect()
    }

    /// The first field, which is the instructions not yet counted.
    fn executed(&self) -> qemu_plugin_u64 {
        qemu_plugin_u64 {
            score: self.0,
            offset: offset_of!(Vcpu, executed),
        }
    }
}

/// Writes down what happens in regions.
struct Recorder {
    out: File,
    /// What regions are measured for; none if they do not count.
    mode: Option<Mode>,
    /// What the CPUs had done when the region began.
    begin: Vec<Figures>,
}

impl Recorder {
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(line)?;
        writeln!(self.out, "{line}").context("writing down a region")
    }

    fn region(&self, mode: Mode, elapsed_ns: u64, end: &[Figures]) -> Region {
        let difference = |field: fn(&Figures) -> u64| {
            self.begin
                .iter()
                .zip(end)
                .map(move |(begin, end)| field(end) - field(begin))
        };
        Region {
            mode,
            elapsed_ns,
            quanta: difference(|cpu| cpu.quanta).sum(),
            overruns: difference(|cpu| cpu.overruns).sum(),
            instructions: difference(|cpu| cpu.instructions).collect(),
        }
    }
}

impl Simulator {
    fn new(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut mips, mut quantum_us, mut out) = (None, None, None);
        for argument in arguments {
            match argument.split_once('=') {
                Some(("mips", value)) => mips = Some(value.parse()?),
                Some(("quantum_us", value)) => quantum_us = Some(value.parse::<u64>()?),
                Some(("out", value)) => out = Some(File::create(value).context(value.to_string())?),
                _ => bail!("'{argument}' is not known"),
            }
        }
        let cores = Cores {
            mips: mips.context("mips= is missing")?,
            quantum_ns: quantum_us.context("quantum_us= is missing")? * 1000,
        };
        let mut recorder = Recorder {
            out: out.context("out= is missing")?,
            mode: None,
            begin: Vec::new(),
        };
        recorder.write(&cores)?;
        let quantum = cores.quantum_ns * cores.mips / 1000;
        anyhow::ensure!(quantum != 0, "a quantum is no instruction");
        Ok(Self {
            cores,
            quantum,
            vcpus: Scoreboard::new(),
            slow_since: AtomicU64::new(0),
            recorder: Mutex::new(recorder),
        })
    }

    fn slow_since(&self) -> Option<u64> {
        Some(self.slow_since.load(SeqCst)).filter(|&start| start != 0)
    }

    /// A CPU has executed a quantum.
    fn quantum(&self, cpu: &Vcpu) {
        match self.slow_since() {
            Some(start) => cpu.settle(self.cores, start),
            None => drop(cpu.count()),
        }
    }

    /// A CPU has nothing more to execute. What it has executed it still has to wait for, if it
    /// resumes before that should be over.
    fn idle(&self, cpu: &Vcpu) {
        match self.slow_since() {
            Some(start) => drop(cpu.charge(self.cores, start)),
            None => drop(cpu.count()),
        }
    }

    fn mark(&self, cpu: &Vcpu, mark: Mark) -> Result<()> {
        let mut recorder = self.recorder.lock().expect("nobody panics");
        match (mark, recorder.mode, self.slow_since()) {
            (Mark::Ignore, ..) => recorder.mode = None,
            (Mark::Serial, ..) => recorder.mode = Some(Mode::Serial),
            (Mark::Parallel, ..) => recorder.mode = Some(Mode::Parallel),
            (Mark::Begin, Some(_), None) => {
                cpu.count();
                recorder.begin = self.vcpus.figures();
                self.slow_since.store(now(), SeqCst);
            }
            (Mark::End, Some(mode), Some(start)) => {
                cpu.settle(self.cores, start);
                let region = recorder.region(mode, now() - start, &self.vcpus.figures());
                self.slow_since.store(0, SeqCst);
                recorder.write(&region)?;
            }
            // In what does not count, or in a child that has begun to measure as its parent.
            (Mark::Begin | Mark::End, ..) => (),
        }
        Ok(())
    }
}

/// Calls a function with the simulator, and a CPU of it.
fn with_vcpu<R>(index: c_uint, f: impl FnOnce(&Simulator, &Vcpu) -> R) -> R {
    let simulator = SIMULATOR.get().expect("callbacks come after it");
    simulator.vcpus.with(index, |cpu| f(simulator, cpu))
}

unsafe extern "C" fn on_init(_: qemu_plugin_id_t, _: c_uint) {
    // In the CPU's own thread: let it sleep to the nanosecond. Without, it sleeps longer.
    let _ = prctl::set_timerslack(1);
}

unsafe extern "C" fn on_idle(_: qemu_plugin_id_t, index: c_uint) {
    with_vcpu(index, |simulator, cpu| simulator.idle(cpu));
}

unsafe extern "C" fn on_resume(_: qemu_plugin_id_t, index: c_uint) {
    with_vcpu(index, |_, cpu| cpu.resume());
}

unsafe extern "C" fn on_quantum(index: c_uint, _: *mut c_void) {
    with_vcpu(index, |simulator, cpu| simulator.quantum(cpu));
}

unsafe extern "C" fn on_mark(index: c_uint, mark: *mut c_void) {
    let mark = Mark::from_code(mark.addr() as u8).expect("it was one when translated");
    with_vcpu(index, |simulator, cpu| simulator.mark(cpu, mark)).expect("results can be written");
}

/// The mark that an instruction is, if it is one.
///
/// # Safety
///
/// The instruction must be part of what is being translated.
unsafe fn mark_of(instruction: *const qemu_plugin_insn) -> Option<Mark> {
    let mut bytes = [0; INSTRUCTION.len() + 1];
    // SAFETY: As the caller promises; and no more is written than there is room for.
    unsafe {
        if qemu_plugin_insn_size(instruction) != bytes.len() {
            return None;
        }
        qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len());
    }
    Mark::decode(&bytes)
}

/// Whether an instruction is `rep movs` or `rep stos`, of whatever size.
///
/// # Safety
///
/// The instruction must be part of what is being translated.
unsafe fn repeats(instruction: *const qemu_plugin_insn) -> bool {
    let mut bytes = [0; 15]; // no instruction is longer
    // SAFETY: As the caller promises; and no more is written than there is room for.
    let size =
        unsafe { qemu_plugin_insn_data(instruction, bytes.as_mut_ptr().cast(), bytes.len()) };
    let is_prefix = |byte: &u8| matches!(byte, 0x40..=0x4f | 0x66 | 0x67 | 0xf2 | 0xf3);
    let mut prefixes = bytes[..size].iter().take_while(|byte| is_prefix(byte));
    prefixes.any(|byte| matches!(byte, 0xf2 | 0xf3))
        && matches!(
            bytes.iter().find(|byte| !is_prefix(byte)),
            Some(0xa4 | 0xa5 | 0xaa | 0xab)
        )
}

unsafe extern "C" fn on_translation(_: qemu_plugin_id_t, block: *mut qemu_plugin_tb) {
    let simulator = SIMULATOR.get().expect("callbacks come after it");
    let executed = simulator.vcpus.executed();
    let flags = qemu_plugin_cb_flags::QEMU_PLUGIN_CB_NO_REGS;
    // SAFETY: QEMU calls this with a block that is being translated, and keeps the functions that it
    // is given. None of them uses their data as a pointer.
    unsafe {
        let count = qemu_plugin_tb_n_insns(block);
        for index in 0..count {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            if let Some(mark) = mark_of(instruction) {
                let mark = null_mut::<c_void>().with_addr(mark as usize);
                qemu_plugin_register_vcpu_insn_exec_cb(instruction, Some(on_mark), flags, mark);
            }
            if repeats(instruction) {
                qemu_plugin_register_vcpu_mem_inline_per_vcpu(
                    instruction,
                    qemu_plugin_mem_rw::QEMU_PLUGIN_MEM_W,
                    qemu_plugin_op::QEMU_PLUGIN_INLINE_ADD_U64,
                    executed,
                    1,
                );
            }
        }
        qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(
            block,
            qemu_plugin_op::QEMU_PLUGIN_INLINE_ADD_U64,
            executed,
            count as u64,
        );
        qemu_plugin_register_vcpu_tb_exec_cond_cb(
            block,
            Some(on_quantum),
            flags,
            qemu_plugin_cond::QEMU_PLUGIN_COND_GE,
            executed,
            simulator.quantum,
            null_mut(),
        );
    }
}

/// QEMU calls this when it loads the plugin.
///
/// # Safety
///
/// `argv` must be `argc` strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: qemu_plugin_id_t,
    _info: *const qemu_info_t,
    argc: c_int,
    argv: *mut *mut c_char,
) -> c_int {
    let arguments = (0..argc as usize).map(|index| {
        // SAFETY: As the caller promises.
        let argument = unsafe { CStr::from_ptr(*argv.add(index)) };
        argument.to_string_lossy().into_owned()
    });
    let simulator = match Simulator::new(arguments) {
        Ok(simulator) => simulator,
        Err(error) => {
            eprintln!("slow_cores: {error:#}");
            return -1;
        }
    };
    if SIMULATOR.set(simulator).is_err() {
        eprintln!("slow_cores: loaded twice");
        return -1;
    }
    // SAFETY: The functions are what QEMU expects, and stay, as the plugin is never unloaded.
    unsafe {
        qemu_plugin_register_vcpu_init_cb(id, Some(on_init));
        qemu_plugin_register_vcpu_idle_cb(id, Some(on_idle));
        qemu_plugin_register_vcpu_resume_cb(id, Some(on_resume));
        qemu_plugin_register_vcpu_tb_trans_cb(id, Some(on_translation));
    }
    0
}
