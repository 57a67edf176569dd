//! The EAL half of the command line: the user's options and those that Linerate adds.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The command line, divided at `--` as in every DPDK program: EAL's options, then Linerate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divided {
    /// EAL's options, without the program's name.
    pub eal: Vec<OsString>,
    /// Linerate's arguments.
    pub own: Vec<OsString>,
}

/// Divides a command line (without the program's name). Without `--`, a line that begins with a word rather
/// than an option is entirely Linerate's.
pub fn divide(arguments: Vec<OsString>) -> Divided {
    match arguments.iter().position(|argument| argument == "--") {
        Some(at) => {
            let mut eal = arguments;
            let own = eal.split_off(at + 1);
            eal.truncate(at);
            Divided { eal, own }
        }
        None if ours(&arguments) => Divided { eal: Vec::new(), own: arguments },
        None => Divided { eal: arguments, own: Vec::new() },
    }
}

fn ours(arguments: &[OsString]) -> bool {
    arguments.first().is_some_and(|first| {
        !first.as_encoded_bytes().starts_with(b"-")
            || ["-h", "--help", "-V", "--version"].iter().any(|option| first == option)
    })
}

/// EAL's options as text; otherwise the first one that is not valid UTF-8.
pub fn as_text(options: &[OsString]) -> Result<Vec<String>, &OsStr> {
    options.iter().map(|option| option.to_str().map(str::to_owned).ok_or(option.as_os_str())).collect()
}

/// A device named by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// A PCI device, by its full address.
    Pci(String),
    /// A virtual device, by its name.
    Virtual(String),
}

impl Device {
    /// Name of the device in ethdev.
    pub fn name(&self) -> &str {
        match self {
            Device::Pci(name) | Device::Virtual(name) => name,
        }
    }
}

/// EAL's arguments and their implications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EalPlan {
    /// All arguments, the program's name first.
    pub arguments: Vec<String>,
    /// Devices that must become ports: PCI addresses of `-a` and virtual network devices of `--vdev`, without
    /// their arguments.
    pub devices: Vec<Device>,
    /// Socket files on which the process's memif servers will listen.
    pub memif_servers: Vec<PathBuf>,
    /// True when packet memory is not in hugepages.
    pub no_huge: bool,
    /// True when no file is shared with other processes, so that EAL needs no mounted hugetlbfs.
    pub in_memory: bool,
}

impl EalPlan {
    /// The lcores as the user wrote them, `-l` or `--lcores`; `None` when EAL or a mask selects them.
    pub fn lcores(&self) -> Option<&str> {
        let mut arguments = self.arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "-l" | "--lcores" => return arguments.next(),
                _ => {
                    let joined = argument.strip_prefix("--lcores=").or_else(|| argument.strip_prefix("-l"));
                    if let Some(list) =
                        joined.filter(|list| list.starts_with(|c: char| c.is_ascii_digit() || c == '('))
                    {
                        return Some(list);
                    }
                }
            }
        }
        None
    }

    /// AF_XDP ports get all queues of their interfaces, of which `queues_of` tells the number, unless the user chose some.
    pub fn with_all_queues(mut self, queues_of: impl Fn(&str) -> Option<u32>) -> Self {
        let mut follows = false;
        for argument in &mut self.arguments {
            let (option, value) = match argument.strip_prefix("--vdev=") {
                Some(value) => ("--vdev=", value),
                None => ("", argument.as_str()),
            };
            let is_device = follows || !option.is_empty();
            follows = argument == "--vdev";
            if let Some(value) = is_device.then(|| all_queues(value, &queues_of)).flatten() {
                *argument = format!("{option}{value}");
            }
        }
        self
    }

    /// Adds to the user's options those that keep EAL from leaving files behind, unless the user chose
    /// otherwise:
    ///
    /// - `--in-memory`: hugepages without files, freed however the process ends. With `--no-huge`, which
    ///   excludes it, `--no-shconf` for the same reason. Omitted when the user places hugepage files
    ///   (`--huge-dir`, `--huge-unlink`, `--legacy-mem`) or runs several processes on one memory
    ///   (`--proc-type`).
    /// - `--no-telemetry`: no DPDK socket in the file system, unless `--telemetry` asks for it.
    pub fn new(program: &str, user: &[String]) -> Self {
        let user = &present_names(user);
        let has = |names: &[&str]| {
            user.iter().any(|option| names.contains(&option.split('=').next().unwrap_or(option)))
        };
        let no_huge = has(&["--no-huge"]);
        let mut in_memory = has(&["--in-memory"]);
        let mut arguments = vec![program.to_owned()];
        arguments.extend_from_slice(user);
        if no_huge {
            if !has(&["--no-shconf", "--proc-type"]) {
                arguments.push("--no-shconf".into());
            }
        } else if !in_memory && !has(&["--huge-dir", "--huge-unlink", "--legacy-mem", "--proc-type"]) {
            arguments.push("--in-memory".into());
            in_memory = true;
        }
        if !has(&["--telemetry", "--no-telemetry"]) {
            arguments.push("--no-telemetry".into());
        }
        let (devices, memif_servers) = (named_devices(user), memif_servers(user));
        Self { arguments, devices, memif_servers, no_huge, in_memory }
    }
}

/// Driver of AF_XDP ports.
pub const AF_XDP: &str = "net_af_xdp";

/// The device's arguments with all queues of its interface, if it is an AF_XDP port whose user chose none. Without the number,
/// DPDK takes the first queue, and what arrives on the others stays with the kernel.
fn all_queues(value: &str, queues_of: impl Fn(&str) -> Option<u32>) -> Option<String> {
    let arguments = value.strip_prefix(AF_XDP)?.split(',');
    let named =
        |name: &str| arguments.clone().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
    let interface = named("iface")?;
    if named("start_queue").or(named("queue_count")).is_some() {
        return None;
    }
    let queues = queues_of(interface).filter(|queues| *queues > 1)?;
    Some(format!("{value},queue_count={queues}"))
}

/// EAL's options under their names since DPDK 20.11. Scripts of older kits use `-w` and similar names, which
/// EAL no longer accepts.
fn present_names(user: &[String]) -> Vec<String> {
    let renamed = |option: &String| {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (option.as_str(), None),
        };
        let present = match name {
            "-w" => "-a",
            "--pci-whitelist" => "--allow",
            "--pci-blacklist" => "--block",
            "--master-lcore" => "--main-lcore",
            _ if name.starts_with("-w") => return format!("-a{}", &name[2..]),
            _ => return option.clone(),
        };
        value.map_or_else(|| present.to_owned(), |value| format!("{present}={value}"))
    };
    user.iter().map(renamed).collect()
}

/// The value of an option that names a device.
enum Naming<'a> {
    Allow(&'a str),
    Virtual(&'a str),
}

/// Values of `-a ADDR`, `-aADDR`, `--allow ADDR`, `--allow=ADDR`, `--vdev NAME` and `--vdev=NAME`, including
/// their arguments.
fn namings(user: &[String]) -> Vec<Naming<'_>> {
    let mut namings = Vec::new();
    let mut options = user.iter();
    while let Some(option) = options.next() {
        let mut value_of = |names: [&str; 2]| {
            let [short, long] = names;
            if option == short || option == long {
                return options.next().map(String::as_str);
            }
            let attached =
                option.strip_prefix(short).filter(|_| !short.is_empty() && !option.starts_with("--"));
            option.strip_prefix(long).and_then(|rest| rest.strip_prefix('=')).or(attached)
        };
        if let Some(value) = value_of(["-a", "--allow"]) {
            namings.push(Naming::Allow(value));
        } else if let Some(value) = value_of(["", "--vdev"]) {
            namings.push(Naming::Virtual(value));
        }
    }
    namings
}

/// Network devices among the named ones; other buses and classes are left out.
fn named_devices(user: &[String]) -> Vec<Device> {
    let bare = |value: &str| value.split(',').next().unwrap_or_default().to_owned();
    let device = |naming| match naming {
        Naming::Allow(value) => pci_address(bare(value).trim_start_matches("pci:")).map(Device::Pci),
        Naming::Virtual(value) => {
            Some(bare(value)).filter(|name| name.starts_with("net_")).map(Device::Virtual)
        }
    };
    namings(user).into_iter().filter_map(device).collect()
}

/// Default socket of memif.
const MEMIF_SOCKET: &str = "/run/memif.sock";

/// Sockets of memif servers that are files; by default they are abstract.
fn memif_servers(user: &[String]) -> Vec<PathBuf> {
    let socket = |naming| {
        let Naming::Virtual(value) = naming else { return None };
        let arguments: Vec<&str> = value.split(',').collect();
        let is_server = arguments.contains(&"role=server") || arguments.contains(&"role=master");
        if !value.starts_with("net_memif") || !is_server || !arguments.contains(&"socket-abstract=no") {
            return None;
        }
        let socket = arguments.iter().find_map(|argument| argument.strip_prefix("socket="));
        Some(PathBuf::from(socket.unwrap_or(MEMIF_SOCKET)))
    };
    namings(user).into_iter().filter_map(socket).collect()
}

/// The full form `0000:03:02.0` of a PCI address that may lack its domain.
fn pci_address(text: &str) -> Option<String> {
    let (rest, function) = text.rsplit_once('.')?;
    let fields: Vec<&str> = rest.split(':').collect();
    let hex = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex(function) || !fields.iter().all(|field| hex(field)) {
        return None;
    }
    match fields[..] {
        [bus, device] => Some(format!("0000:{bus}:{device}.{function}").to_ascii_lowercase()),
        [domain, bus, device] => Some(format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_line_is_divided_at_the_first_double_dash() {
        for (line, eal, own) in [
            ("-l 0-1 -- tx --size 64", "-l 0-1", "tx --size 64"),
            ("-- ports --json", "", "ports --json"),
            ("-l 0 -- tx -- x", "-l 0", "tx -- x"),
            ("tx --help", "", "tx --help"),
            ("--help", "", "--help"),
            ("-l 0-1 --no-huge", "-l 0-1 --no-huge", ""),
            ("", "", ""),
        ] {
            let words = |line| words(line).into_iter().map(OsString::from).collect();
            assert_eq!(divide(words(line)), Divided { eal: words(eal), own: words(own) }, "{line}");
        }
        let odd = OsString::from_vec(b"\xff".to_vec());
        let options = [OsString::from("-l"), odd.clone()];
        assert_eq!(divide(vec![odd.clone()]), Divided { eal: vec![], own: vec![odd.clone()] });
        assert_eq!((as_text(&options), as_text(&options[..1])), (Err(odd.as_os_str()), Ok(words("-l"))));
    }

    #[test]
    fn eal_leaves_no_files_unless_an_option_says_so() {
        for (user, added) in [
            ("-l 0-1", "--in-memory --no-telemetry"),
            ("--no-huge -m 64", "--no-shconf --no-telemetry"),
            ("--no-huge --no-shconf", "--no-telemetry"),
            ("--in-memory --telemetry", ""),
            ("--huge-dir /mnt/huge", "--no-telemetry"),
            ("--huge-unlink=always", "--no-telemetry"),
            ("--proc-type=primary", "--no-telemetry"),
        ] {
            let expected: Vec<String> =
                words("lp").into_iter().chain(words(user)).chain(words(added)).collect();
            assert_eq!(EalPlan::new("lp", &words(user)).arguments, expected, "{user}");
        }
    }

    #[test]
    fn devices_are_found_in_every_spelling() {
        let user = words(
            "-a 0000:03:02.0,mprq_en=1 -a03:02.1 --allow=0001:AF:00.0 --allow pci:04:00.0 -a vdev:x --vdev net_null0,size=64 \
             --vdev=net_ring1 --vdev crypto_null -a",
        );
        let devices = EalPlan::new("lp", &user).devices;
        let names: Vec<_> = devices.iter().map(Device::name).collect();
        assert_eq!(
            names,
            ["0000:03:02.0", "0000:03:02.1", "0001:af:00.0", "0000:04:00.0", "net_null0", "net_ring1"]
        );
        assert!(matches!(devices[4], Device::Virtual(_)));
    }

    #[test]
    fn af_xdp_takes_all_queues_unless_the_user_chose_some() {
        let queues_of = |interface: &str| {
            [("eth0", 8), ("eth1", 1)].iter().find(|(name, _)| *name == interface).map(|(_, count)| *count)
        };
        for (user, expected) in [
            ("--vdev net_af_xdp0,iface=eth0", "--vdev net_af_xdp0,iface=eth0,queue_count=8"),
            (
                "--vdev=net_af_xdp0,iface=eth0,force_copy=1",
                "--vdev=net_af_xdp0,iface=eth0,force_copy=1,queue_count=8",
            ),
            ("--vdev net_af_xdp0,iface=eth0,start_queue=2", "--vdev net_af_xdp0,iface=eth0,start_queue=2"),
            ("--vdev net_af_xdp0,queue_count=2,iface=eth0", "--vdev net_af_xdp0,queue_count=2,iface=eth0"),
            ("--vdev net_af_xdp0,iface=eth1", "--vdev net_af_xdp0,iface=eth1"),
            ("--vdev net_af_xdp0,iface=other", "--vdev net_af_xdp0,iface=other"),
            ("--vdev net_af_packet0,iface=eth0", "--vdev net_af_packet0,iface=eth0"),
            ("-a net_af_xdp0,iface=eth0", "-a net_af_xdp0,iface=eth0"),
        ] {
            let plan = EalPlan::new("lp", &words(user)).with_all_queues(queues_of);
            assert_eq!(plan.arguments[1..=words(expected).len()], words(expected), "{user}");
        }
    }

    #[test]
    fn options_of_older_releases_are_translated() {
        let user = words(
            "-w 03:02.0 -w03:02.1,mprq_en=1 --pci-whitelist 04:00.0 --pci-whitelist=05:00.0 --pci-blacklist=06:00.0 --master-lcore 2 \
             --file-prefix=-w -a 07:00.0",
        );
        let plan = EalPlan::new("lp", &user);
        let expected = words(
            "lp -a 03:02.0 -a03:02.1,mprq_en=1 --allow 04:00.0 --allow=05:00.0 --block=06:00.0 --main-lcore 2 --file-prefix=-w -a 07:00.0 \
             --in-memory --no-telemetry",
        );
        assert_eq!(plan.arguments, expected);
        let names: Vec<_> = plan.devices.iter().map(Device::name).collect();
        assert_eq!(names, ["0000:03:02.0", "0000:03:02.1", "0000:04:00.0", "0000:05:00.0", "0000:07:00.0"]);
    }

    #[test]
    fn only_memif_servers_on_files_have_a_socket_to_take_over() {
        let user = words(
            "--vdev net_memif0,role=server,socket=/run/a.sock,socket-abstract=no --vdev=net_memif1,socket-abstract=no,socket=/run/b.sock,role=master \
             --vdev net_memif4,role=server,socket-abstract=no --vdev net_memif2,role=server,socket=abstract --vdev net_memif3,role=client,socket=/run/c.sock,socket-abstract=no \
             --vdev net_null0,role=server,socket=/run/d.sock,socket-abstract=no",
        );
        assert_eq!(
            EalPlan::new("lp", &user).memif_servers,
            ["/run/a.sock", "/run/b.sock", MEMIF_SOCKET].map(PathBuf::from)
        );
    }

    #[test]
    fn the_list_of_lcores_is_found_in_any_form() {
        for (options, lcores) in [
            (&["-l", "0-3"][..], Some("0-3")),
            (&["-l0,2"], Some("0,2")),
            (&["-m", "64", "--lcores", "0@0,1@1"], Some("0@0,1@1")),
            (&["--lcores=(0-1)@1"], Some("(0-1)@1")),
            (&["--log-level", "lib.eal:8", "-c", "3"], None),
        ] {
            let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            assert_eq!(EalPlan::new("p", &options).lcores(), lcores);
        }
    }
}
