// The library that injects faults, in the hands of a program that has never heard of it: each fault does what it says, to
// the files that it is for and to no other.

import Conformance
import Foundation
import Glibc
import Testing

private let python = "/usr/bin/python3"

@Suite(
  "injected faults", .timeLimit(.minutes(2)),
  .enabled(if: FileManager.default.isExecutableFile(atPath: python), "/usr/bin/python3 is not there"))
struct FaultInjectorTests {
  /// Runs lines of Python in which `flush(name)` writes a byte to a file and flushes it, and `said(f, …)` prints what a
  /// call gave: the name of its error or "fine".
  private func victim(_ body: String, _ environment: [String: String], in directory: ScratchDirectory) async throws
    -> [String]
  {
    let prelude = """
      import errno, mmap, os, sqlite3, sys, threading, time
      os.chdir(sys.argv[1])
      def opened(name, flags=0): return os.open(name, os.O_CREAT | os.O_RDWR | flags)
      def said(call, *arguments):
        try: call(*arguments); print("fine")
        except OSError as e: print(errno.errorcode[e.errno])
        except sqlite3.Error as e: print(e)
      def took(call, *arguments):
        begin = time.monotonic(); call(*arguments); print(int((time.monotonic() - begin) * 1000))

      """
    let outcome = try await Program.run(
      ["-c", prelude + body, directory.path], executable: python, environment: environment)
    try #require(outcome.exitCode == 0, "\(outcome.errors)")
    return outcome.output.split(separator: "\n").map(String.init)
  }

  private func make() throws -> (ScratchDirectory, FaultControl) {
    let directory = try ScratchDirectory()
    try FileManager.default.createDirectory(atPath: directory("in"), withIntermediateDirectories: false)
    return (directory, try FaultControl(for: Program.path, below: directory("in")))
  }

  @Test("each way to flush takes longer, below the directory and not beside it")
  func delay() async throws {
    let (directory, faults) = try make()
    faults[.flushDelayMicroseconds] = 60_000
    let body = """
      f, synchronous, beside = opened("in/a"), opened("in/b", os.O_DSYNC), opened("inside")
      os.truncate(f, 4096)
      mapped = mmap.mmap(f, 4096)
      for call in [os.fsync, os.fdatasync]: took(call, f)
      took(os.write, synchronous, b"x"); took(os.pwrite, synchronous, b"x", 0); took(mapped.flush)
      took(os.write, f, b"x"); took(os.fsync, beside)
      """
    let times = try await victim(body, faults.environment, in: directory).compactMap { Int($0) }
    try #require(times.count == 7)
    #expect(times.prefix(5).allSatisfy { $0 >= 60 }, "\(times)")
    #expect(faults[.flushesDelayed] == 5 && faults[.flushes] == 5 && faults[.attached] == 1)
  }

  @Test("a full disk refuses what needs room, after as many writes as were to pass")
  func full() async throws {
    let (directory, faults) = try make()
    faults[.writeError] = Int(ENOSPC)
    faults[.writesToPass] = 2
    let body = """
      f, beside = opened("in/a"), opened("inside")
      for _ in range(3): said(os.write, f, b"xx")
      said(os.pwrite, f, b"x", 0); said(os.writev, f, [b"x"]); said(os.pwritev, f, [b"x"], 0)
      said(os.posix_fallocate, f, 0, 9000); said(os.truncate, f, 9000); said(os.truncate, f, 1)
      said(os.fsync, f); said(os.write, beside, b"x")
      said(sqlite3.connect("in/db").execute, "CREATE TABLE t(a)")
      """
    let said = try await victim(body, faults.environment, in: directory)
    let refused = [String](repeating: "ENOSPC", count: 6)
    #expect(said == ["fine", "fine"] + refused + ["fine", "fine", "fine", "database or disk is full"], "\(said)")
    #expect(faults[.writeErrors] >= 7)
  }

  @Test("a flush fails as often as it was told to, and on a descriptor that was another file before")
  func flushError() async throws {
    let (directory, faults) = try make()
    faults[.flushError] = Int(EIO)
    faults[.flushesToPass] = 1
    faults[.flushErrorsAtMost] = 2
    let body = """
      beside = opened("inside"); said(os.fsync, beside); os.close(beside)
      f = opened("in/a"); assert f == beside
      for _ in range(4): said(os.fsync, f)
      other = opened("inside"); os.dup2(other, f); said(os.fsync, f)
      """
    let said = try await victim(body, faults.environment, in: directory)
    #expect(said == ["fine", "fine", "EIO", "EIO", "fine", "fine"])
    #expect(faults[.flushErrors] == 2)
  }

  @Test("on many threads exactly as many errors are given as were asked for, and flushes wait while they are held")
  func threads() async throws {
    let (directory, faults) = try make()
    faults[.flushErrorsAtMost] = 100
    faults[.flushError] = Int(EIO)
    faults[.holdFlushes] = 1
    let body = """
      failed = []
      def work(number):
        f = opened(f"in/{number}")
        for _ in range(200):
          try: os.fdatasync(f)
          except OSError: failed.append(number)
      threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
      for t in threads: t.start()
      for t in threads: t.join()
      print(len(failed))
      """
    async let said = victim(body, faults.environment, in: directory)
    try await faults.wait(for: .flushesHeld, toReach: 8)
    #expect(faults[.flushes] == 8)
    faults[.holdFlushes] = 0
    #expect(try await said == ["100"])
    #expect(faults[.flushes] == 1600 && faults[.flushErrors] == 100 && faults[.flushesHeld] == 0)
  }

  @Test("the wall clock jumps by an hour either way, and the others go on")
  func clock() async throws {
    let (directory, faults) = try make()
    for offset in [3600, -3600] {
      faults[.wallClockOffsetNanoseconds] = offset * 1_000_000_000 + 999_999_999
      let before = Date().timeIntervalSince1970
      let said = try await victim(
        "print(time.time()); print(sqlite3.connect(':memory:').execute(\"SELECT unixepoch()\").fetchone()[0]);"
          + "print(time.monotonic())",
        faults.environment, in: directory
      ).compactMap { Double($0) }
      try #require(said.count == 3)
      for time in said.prefix(2) { #expect((-1..<30).contains(time - before - Double(offset)), "\(said) \(before)") }
    }
  }

  @Test("settings that cannot be read end the program, with what is wrong with them")
  func settings() async throws {
    for (name, value, reason) in [
      ("PORTCULLIS_FAULT_CONTROL", "/nowhere/at/all", "names no control file"),
      ("PORTCULLIS_FAULT_FLUSH_DELAY_US", "2ms", "is not a number"),
      ("PORTCULLIS_FAULT_BELOW", "data", "is no absolute path"),
    ] {
      let outcome = try await Program.run(
        ["-c", "print('ran')"], executable: python,
        environment: ["LD_PRELOAD": FaultControl.library(for: Program.path), name: value])
      #expect(outcome.exitCode == 70 && outcome.output.isEmpty, "\(name): \(outcome)")
      #expect(outcome.errors.contains("\(name) \(reason)"), "\(outcome.errors)")
    }
  }
}
