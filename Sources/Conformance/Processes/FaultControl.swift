// Faults of the disk and the wall clock in programs that are started with libportcullis_faults.so
// (Sources/FaultInjector), switched on and off while they run.

import Foundation
import Glibc

/// One control file. Whoever is started with its `environment` is under its faults, and several may be. Any task may use it.
package final class FaultControl: Sendable {
  /// The words of the control, as in FaultInjector.h. To link that library would be to be under its faults.
  package enum Word: Int, Sendable {
    case flushDelayMicroseconds = 0
    case holdFlushes, flushError, flushesToPass, flushErrorsAtMost
    case writeError, writesToPass, writeErrorsAtMost
    case wallClockOffsetNanoseconds
    case attached = 16
    case flushes, flushesDelayed, flushErrors, writeErrors, flushesHeld
  }

  private static let bytes = 256

  private let directory: ScratchDirectory
  private let file: Int32
  package let environment: [String: String]

  /// - Parameters:
  ///   - executable: of the program whose processes get the faults; the library lies beside it.
  ///   - below: the directory or file that the faults are for.
  /// - Throws: `ConformanceError` where the library was not built.
  package init(for executable: String, below: String) throws {
    let library = Self.library(for: executable)
    guard access(library, R_OK) == 0 else {
      throw ConformanceError(
        "\(library) is not there, which injects faults: build it with `swift build -c release --product portcullis_faults`"
      )
    }
    directory = try ScratchDirectory()
    let path = directory("faults")
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0, ftruncate(file, off_t(Self.bytes)) == 0 else {
      throw ConformanceError("the control of faults \(path) cannot be made: \(String(cString: strerror(errno)))")
    }
    environment = ["LD_PRELOAD": library, "PORTCULLIS_FAULT_CONTROL": path, "PORTCULLIS_FAULT_BELOW": below]
  }

  package static func library(for executable: String) -> String {
    URL(fileURLWithPath: executable).deletingLastPathComponent().appendingPathComponent("libportcullis_faults.so").path
  }

  deinit { close(file) }

  package subscript(word: Word) -> Int {
    get {
      var value = Int64()
      let count = pread(file, &value, 8, off_t(word.rawValue * 8))
      precondition(count == 8, "a control file of \(Self.bytes) bytes has all words")
      return Int(value)
    }
    set {
      var value = Int64(newValue)
      let count = pwrite(file, &value, 8, off_t(word.rawValue * 8))
      precondition(count == 8, "a control file of \(Self.bytes) bytes has all words")
    }
  }

  /// Moves the wall clock of whoever has this control: so far ahead of the machine's, or behind where it is below zero.
  package func setClock(hoursAhead: Int) { self[.wallClockOffsetNanoseconds] = hoursAhead * 3_600_000_000_000 }

  /// Ends all faults; what was counted stays.
  package func clear() {
    for word in 0..<Word.attached.rawValue {
      if let word = Word(rawValue: word) { self[word] = 0 }
    }
  }

  /// Waits until the library has counted this far.
  /// - Throws: `ConformanceError` after a minute.
  package func wait(for word: Word, toReach count: Int) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while self[word] < count {
      guard ContinuousClock.now < deadline else {
        throw ConformanceError("\(word) is \(self[word]) and does not come to \(count)")
      }
      try Task.checkCancellation()
      await Task.yield()
    }
  }
}
