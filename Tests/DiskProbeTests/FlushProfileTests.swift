import DiskProbe
import Glibc
import LogStorage
import Measurement
import Testing

@Suite("A disk is measured on the log's own path and judged")
struct FlushProfileTests {
  @Test("A short measurement has every series asked for, and leaves nothing behind")
  func measurement() throws {
    var template = Array("/tmp/portcullis-probe-XXXXXX".utf8CString)
    #expect(mkdtemp(&template) != nil)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let profile = try FlushProfile.measure(
      FlushProfileOptions(directory: path, batchRecords: [1, 8], commits: 25, pacedIntervalMicroseconds: 100))
    // Removing works only on an empty directory.
    #expect(rmdir(path) == 0)
    #expect(profile.series.map(\.path) == [.unflushed, .file, .file, .log, .log, .log, .log])
    #expect(profile.series.map(\.pace) == [.tight, .tight, .paced, .tight, .paced, .tight, .paced])
    #expect(profile.series.map(\.recordsPerCommit) == [1, 1, 1, 1, 1, 8, 8])
    #expect(profile.series.allSatisfy { $0.latency.count == 25 && $0.latency.max > 0 })
    #expect(profile.text.split(separator: "\n").count == 9)
    #expect(profile.text.hasSuffix(profile.verdict.text))
  }

  @Test("A directory that is not there is refused")
  func missingDirectory() {
    #expect(throws: StorageError.self) {
      try FlushProfile.measure(FlushProfileOptions(directory: "/tmp/portcullis-no-such-directory"))
    }
  }

  private func verdict(nanoseconds: UInt64, count: UInt64, outliers: (nanoseconds: UInt64, count: UInt64) = (0, 0))
    -> FlushVerdict
  {
    var latency = LatencyHistogram()
    for _ in 0..<count { latency.record(nanoseconds: nanoseconds) }
    for _ in 0..<outliers.count { latency.record(nanoseconds: outliers.nanoseconds) }
    let file = FlushSeries(
      path: .file, pace: .tight, recordBytes: 256, recordsPerCommit: 1, latency: latency, elapsedNanoseconds: 1)
    // The log's own series says nothing about the disk, however slow it is.
    var log = file
    log.path = .log
    log.latency.record(nanoseconds: 900_000_000)
    return FlushVerdict([file, log])
  }

  @Test("A disk of 200 µs a flush is plausible")
  func plausible() {
    guard case .plausible(let p50) = verdict(nanoseconds: 200_000, count: 2000) else {
      Issue.record("it was not")
      return
    }
    #expect(abs(Int(p50) - 200_000) < 1000)
    #expect(verdict(nanoseconds: 200_000, count: 50).text.hasPrefix("plausible"))
  }

  @Test("A disk of 2 µs a flush is too fast to be true")
  func tooFast() {
    #expect(verdict(nanoseconds: 2000, count: 2000).text.hasPrefix("too fast to be true"))
  }

  @Test("A disk with one flush in fifty above 10 ms is slow, however fast the others are")
  func slow() {
    let slow = verdict(nanoseconds: 200_000, count: 980, outliers: (30_000_000, 20))
    guard case .slow(let p99) = slow else {
      Issue.record("it was \(slow)")
      return
    }
    #expect(p99 >= 10_000_000)
    #expect(verdict(nanoseconds: 20_000_000, count: 100).text.hasPrefix("slow"))
  }

  @Test("A few samples with one slow among them decide nothing")
  func undecided() {
    #expect(
      verdict(nanoseconds: 200_000, count: 99, outliers: (30_000_000, 1)) == .tooFewSamples(count: 100))
    #expect(verdict(nanoseconds: 200_000, count: 5) == .tooFewSamples(count: 5))
    #expect(FlushVerdict([]) == .tooFewSamples(count: 0))
  }
}
