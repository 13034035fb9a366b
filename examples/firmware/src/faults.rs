//! Faults end the program with a failing exit status instead of hanging it.

use cortex_m_rt::exception;
use semihosting::process::ExitCode;

// SAFETY: the handler never returns and touches no state of the interrupted program.
#[exception(trampoline = false)]
unsafe fn HardFault() -> ! {
    ExitCode::FAILURE.exit_process()
}

// SAFETY: as above.
#[exception]
unsafe fn DefaultHandler(_number: i16) -> ! {
    ExitCode::FAILURE.exit_process()
}
