// Owns what the kernel says that the threads of a process have used.

import Foundation
import Glibc

/// Of the threads of some processes, by what they are for.
package struct ThreadTimes: Sendable, Codable {
  enum Part: CaseIterable { case loop, writer, eventLoops }

  package struct Use: Sendable, Codable {
    var nanoseconds = 0.0
    /// How often it went to sleep.
    var sleeps = 0.0

    static func - (one: Use, other: Use) -> Use {
      Use(nanoseconds: one.nanoseconds - other.nanoseconds, sleeps: one.sleeps - other.sleeps)
    }
  }

  private var loop = Use()
  private var writer = Use()
  private var eventLoops = Use()

  private static func field(of part: Part) -> WritableKeyPath<ThreadTimes, Use> {
    switch part {
    case .loop: \.loop
    case .writer: \.writer
    case .eventLoops: \.eventLoops
    }
  }

  private(set) subscript(part: Part) -> Use {
    get { self[keyPath: Self.field(of: part)] }
    set { self[keyPath: Self.field(of: part)] = newValue }
  }

  var totalNanoseconds: Double { Part.allCases.reduce(0) { $0 + self[$1].nanoseconds } }

  /// - Parameter processes: that run.
  static func read(_ processes: [pid_t]) -> ThreadTimes {
    var times = ThreadTimes()
    for process in processes {
      let tasks = "/proc/\(process)/task"
      for task in (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? [] {
        let part = Self.part(named: text("\(tasks)/\(task)/comm"))
        let spent = text("\(tasks)/\(task)/schedstat").split(separator: " ").first.flatMap { Double($0) } ?? 0
        times[part].nanoseconds += spent
        times[part].sleeps += sleeps(in: text("\(tasks)/\(task)/status"))
      }
    }
    return times
  }

  static func - (one: ThreadTimes, other: ThreadTimes) -> ThreadTimes {
    var difference = ThreadTimes()
    for part in Part.allCases { difference[part] = one[part] - other[part] }
    return difference
  }

  /// The names that LogWriter.swift and SwiftNIO give. The loop's is Foundation's own affair and not told to the system; nearly
  /// all that the other threads of a node do under puts is the loop's.
  private static func part(named name: String) -> Part {
    if name.hasPrefix("log-writer") { return .writer }
    return name.hasPrefix("NIO-ELT") ? .eventLoops : .loop
  }

  private static func sleeps(in status: String) -> Double {
    let line = status.split(separator: "\n").first { $0.hasPrefix("voluntary_ctxt_switches") }
    return line?.split(whereSeparator: \.isWhitespace).last.flatMap { Double($0) } ?? 0
  }

  private static func text(_ path: String) -> String {
    (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines) ?? ""
  }
}

/// What all processors of the machine have done.
struct MachineUse: Sendable {
  var busyNanoseconds: Double
  var allNanoseconds: Double

  /// proc(5): ticks of a hundredth of a second; the fourth and fifth are idle.
  static func read() -> MachineUse {
    let text = (try? String(contentsOfFile: "/proc/stat", encoding: .utf8)) ?? ""
    let ticks =
      text.split(separator: "\n").first?.split(separator: " ").dropFirst().prefix(8).compactMap { Double($0) } ?? []
    let all = ticks.reduce(0, +)
    let idle = ticks.count > 4 ? ticks[3] + ticks[4] : all
    return MachineUse(busyNanoseconds: (all - idle) * 1e7, allNanoseconds: all * 1e7)
  }

  /// The share of the machine that others than these used since.
  func shareOfOthers(since before: MachineUse, own nanoseconds: Double) -> Double {
    let all = allNanoseconds - before.allNanoseconds
    return all > 0 ? max(0, busyNanoseconds - before.busyNanoseconds - nanoseconds) / all : 0
  }

  static var ownNanoseconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
}
