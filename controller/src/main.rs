//! `linerate`: runs experiments and stores their results.

fn main() -> std::process::ExitCode {
    linerate::cli::main()
}
