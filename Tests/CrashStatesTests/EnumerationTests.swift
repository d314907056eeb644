// The enumeration itself: the real log, recorded and cut off at every call. It runs in programs of its own, because some
// crash states of a planted defect end the program that opens them.
//
// PORTCULLIS_CRASH_SEEDS, as FIRST-LAST, takes other and more seeds.

import Glibc
import Synchronization
import Testing

@Suite("Power cuts, enumerated", .serialized)
struct EnumerationTests {
  @Test("the log: nothing acknowledged is lost, nothing is invented, and no power cut is taken for damage")
  func log() throws {
    let seeds = getenv("PORTCULLIS_CRASH_SEEDS").map { String(cString: $0) } ?? "1-6"
    let run = try Run(["log", "--seeds", seeds])
    #expect(run.failures == 0 && run.code == 0, "\(run.output)")
    #expect(run.distinct >= 10_000 || seeds != "1-6", "\(run.output)")
  }

  @Test(
    "the log on a disk or with a program that breaks its word is found out",
    arguments: ["ignored-flushes", "no-sync", "no-meta-sync", "unflushed-names"])
  func plantedInLog(defect: String) throws {
    let run = try Run(["log", "--seeds", "1-1", "--planted", defect])
    #expect(run.failures > 0 && run.code == 1, "\(run.output)")
  }

  @Test("SQLite: floor and data are one, and what was committed stays")
  func sqlite() throws {
    let run = try Run(["sqlite", "--seeds", "1-1", "--steps", "40"])
    #expect(run.failures == 0 && run.code == 0 && run.distinct > 500, "\(run.output)")
  }

  @Test("SQLite without its flushes is found out", arguments: ["OFF", "NORMAL"])
  func plantedInSQLite(synchronous: String) throws {
    let run = try Run(["sqlite", "--seeds", "1-1", "--steps", "40", "--synchronous", synchronous])
    #expect(run.failures > 0 && run.code == 1, "\(run.output)")
  }

  @Test("the gateway's engine: floor, data and kept answers are one, and no power cut is taken for an older file")
  func engine() throws {
    let run = try Run(["engine", "--seeds", "1-3"])
    #expect(run.failures == 0 && run.code == 0, "\(run.output)")
    #expect(run.distinct >= 10_000, "\(run.output)")
  }

  @Test("the gateway's engine on a disk that breaks its word is found out")
  func plantedInEngine() throws {
    let run = try Run(["engine", "--seeds", "1-1", "--planted", "ignored-flushes"])
    #expect(run.failures > 0 && run.code == 1, "\(run.output)")
  }
}

/// One run of the program beside this one.
private struct Run {
  private static let number = Mutex(0)

  let output: String
  let code: Int32

  init(_ arguments: [String]) throws {
    let number = Self.number.withLock { number in
      number += 1
      return number
    }
    let scratch = "/dev/shm/portcullis-crash-tests-\(getpid())-\(number)"
    let program = Self.folder + "/crash-enumerator"
    let words = [program] + arguments + ["--scratch", scratch]
    // Whatever is kept of a failure is told of in the output, and removed here unless somebody asks for it.
    let command = words.map { "'\($0)'" }.joined(separator: " ") + " 2>&1"
    let pipe = try #require(popen(command, "r"))
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = fread(&chunk, 1, chunk.count, pipe)
      guard count > 0 else { break }
      bytes += chunk[..<count]
    }
    code = pclose(pipe) >> 8
    output = String(decoding: bytes, as: UTF8.self)
    if getenv("PORTCULLIS_KEEP") == nil { system("rm -rf '\(scratch)'") }
  }

  /// Where this program is, and all that is built with it.
  private static var folder: String {
    guard let path = realpath("/proc/self/exe", nil) else { return "." }
    defer { free(path) }
    let text = String(cString: path)
    return text.lastIndex(of: "/").map { String(text[..<$0]) } ?? "."
  }

  var failures: Int { sum(of: "failures") }
  var distinct: Int { sum(of: "distinct") }

  private func sum(of name: String) -> Int {
    output.split { $0 == " " || $0 == "\n" }.filter { $0.hasPrefix(name + "=") }
      .reduce(0) { $0 + (Int($1.dropFirst(name.count + 1)) ?? 0) }
  }
}
