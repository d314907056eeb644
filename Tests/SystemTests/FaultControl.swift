// Faults of the disk and the wall clock in programs that are started with libportcullis_faults.so
// (Sources/FaultInjector), switched on and off while they run.

import Foundation
import Glibc
import Testing

/// One control file. Whoever is started with its `environment` is under its faults, and several may be.
final class FaultControl: Sendable {
  /// The words of the control, as in FaultInjector.h. To link that library would be to be under its faults.
  enum Word: Int {
    case flushDelayMicroseconds = 0
    case holdFlushes, flushError, flushesToPass, flushErrorsAtMost
    case writeError, writesToPass, writeErrorsAtMost
    case wallClockOffsetNanoseconds
    case attached = 16
    case flushes, flushesDelayed, flushErrors, writeErrors, flushesHeld
  }

  static let library = URL(fileURLWithPath: Program.path).deletingLastPathComponent()
    .appendingPathComponent("libportcullis_faults.so").path

  private let directory: ScratchDirectory
  private let file: Int32
  let environment: [String: String]

  /// - Parameter below: the directory or file that the faults are for.
  init(below: String) throws {
    directory = try ScratchDirectory()
    let path = directory("faults")
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    try #require(file >= 0 && ftruncate(file, 256) == 0, "the control file cannot be made: errno \(errno)")
    environment = [
      "LD_PRELOAD": Self.library, "PORTCULLIS_FAULT_CONTROL": path, "PORTCULLIS_FAULT_BELOW": below,
    ]
  }

  deinit { close(file) }

  subscript(word: Word) -> Int {
    get {
      var value = Int64()
      let count = pread(file, &value, 8, off_t(word.rawValue * 8))
      precondition(count == 8, "a control file of 256 bytes has all words")
      return Int(value)
    }
    set {
      var value = Int64(newValue)
      let count = pwrite(file, &value, 8, off_t(word.rawValue * 8))
      precondition(count == 8, "a control file of 256 bytes has all words")
    }
  }

  /// Ends all faults; what was counted stays.
  func clear() {
    for word in 0..<Word.attached.rawValue {
      if let word = Word(rawValue: word) { self[word] = 0 }
    }
  }

  /// Waits until the library has counted this far.
  func wait(for word: Word, toReach count: Int) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while self[word] < count {
      try #require(ContinuousClock.now < deadline, "\(word) is \(self[word]) and does not come to \(count)")
      try Task.checkCancellation()
      await Task.yield()
    }
  }
}
