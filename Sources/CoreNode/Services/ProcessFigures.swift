// What the system knows of this process, under the names that every Prometheus client has for it. Read from /proc when it is
// asked for.

import Foundation
import Glibc

struct ProcessFigures {
  private var residentBytes: UInt64 = 0
  private var virtualBytes: UInt64 = 0
  private var processorSeconds = 0.0
  private var startSeconds = 0.0
  private var openFiles: UInt64 = 0
  private var maxOpenFiles: UInt64 = 0

  static func now() -> ProcessFigures {
    var figures = ProcessFigures()
    // The second field is the program's name in parentheses, which may hold anything; the third is the first behind it.
    if let stat = read("/proc/self/stat"), let end = stat.lastIndex(of: ")") {
      let fields = stat[stat.index(after: end)...].split(separator: " ")
      let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
      if fields.count > 21, ticks > 0 {
        figures.processorSeconds = ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / ticks
        figures.startSeconds = bootSeconds + (Double(fields[19]) ?? 0) / ticks
        figures.virtualBytes = UInt64(fields[20]) ?? 0
        figures.residentBytes = (UInt64(fields[21]) ?? 0) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
      }
    }
    figures.openFiles = UInt64((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0)
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      figures.maxOpenFiles = UInt64(limit.rlim_cur)
    }
    return figures
  }

  private static var bootSeconds: Double {
    let line = read("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
    return line.flatMap { Double($0.dropFirst(6)) } ?? 0
  }

  private static func read(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  func write(into out: inout MetricsText) {
    out.gauge("process_resident_memory_bytes", residentBytes)
    out.gauge("process_virtual_memory_bytes", virtualBytes)
    out.counter("process_cpu_seconds_total", seconds: processorSeconds)
    out.gauge("process_start_time_seconds", seconds: startSeconds)
    out.gauge("process_open_fds", openFiles)
    out.gauge("process_max_fds", maxOpenFiles)
    // Of the machine: what process_cpu_seconds_total is to be held against.
    out.gauge("portcullis_processors", UInt64(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
  }
}
