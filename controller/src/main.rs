//! `linerate`: runs experiments and keeps their results.

fn main() -> std::process::ExitCode {
    linerate::cli::main()
}
