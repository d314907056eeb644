import DiskProbe
import Testing

@Suite("A disk is judged, with the reason")
struct FlushVerdictTests {
  private typealias Grade = FlushVerdict.Grade

  /// A disk of this machine's own, so that what is said of a real one does not depend on where the test runs.
  private func disk(_ change: (inout ProbedDisk) -> Void = { _ in }) throws -> ProbedDisk {
    var disk = try ProbedDisk(of: "/tmp")
    disk.fileSystem = "ext4"
    disk.mountOptions = "rw,relatime"
    disk.device = "nvme0n1"
    disk.writeCache = "write back"
    disk.isVirtual = false
    change(&disk)
    return disk
  }

  private let control = Synthetic.series(
    .file(bytes: 2300, method: .none), Synthetic.same(microseconds: 3, count: 2000))

  private func verdict(
    _ samples: [UInt64], cell: FlushCell = .file(bytes: 2300), with others: [FlushSeries] = [],
    on change: (inout ProbedDisk) -> Void = { _ in }
  ) throws -> FlushVerdict {
    FlushVerdict([control, Synthetic.series(cell, samples)] + others, on: try disk(change))
  }

  private func calm(_ microseconds: UInt64, count: Int = 2000) -> [UInt64] {
    Synthetic.same(microseconds: microseconds, count: count)
  }

  @Test("200 µs a flush is good, and there is nothing to do")
  func good() throws {
    let verdict = try verdict(calm(200))
    #expect(verdict.grade == .good && verdict.p99Nanoseconds == 200_000)
    #expect(verdict.reasons == ["99 of 100 flushes take at most 0.20 ms; etcd asks for less than 10 ms"])
    #expect(verdict.advice.count == 1)
    #expect(try self.verdict(calm(200, count: 50)).grade == .good, "the largest of fifty bounds the percentile")
  }

  @Test("One flush in fifty above 10 ms is bad, however fast the others are")
  func bad() throws {
    let verdict = try verdict(calm(200, count: 1960) + calm(30_000, count: 40))
    #expect(verdict.grade == .bad && verdict.p99Nanoseconds == 30_000_000)
    #expect(verdict.reasons[0].contains("30 ms"))
    // Too few for a 99th percentile, and bad beyond doubt.
    #expect(try self.verdict(calm(20_000, count: 100)).grade == .bad)
  }

  @Test("Bad when it is asked now and then is bad, even if it is good in a tight loop")
  func badAtAPace() throws {
    let paced = Synthetic.series(.file(bytes: 2300, intervalMicroseconds: 2000), calm(15_000))
    let verdict = try verdict(calm(200), with: [paced])
    #expect(verdict.grade == .bad && verdict.reasons[0].contains("each 2 ms"))
  }

  @Test("Little room, trouble under strain, or one long stall is marginal")
  func marginal() throws {
    let near = try verdict(calm(200, count: 1900) + calm(6000, count: 100))
    #expect(near.grade == .marginal && near.reasons[1].contains("6.00 ms"))
    let strained = Synthetic.series(.file(bytes: 2300, writers: 3), calm(12_000))
    #expect(try verdict(calm(200), with: [strained]).grade == .marginal)
    let busy = Synthetic.series(.file(bytes: 2300, processors: .busy), calm(12_000))
    #expect(try verdict(calm(200), with: [busy]).grade == .marginal)
    let stalled = try verdict(calm(200) + calm(150_000, count: 1))
    #expect(stalled.grade == .marginal && stalled.reasons[1].contains("150 ms"))
  }

  @Test("A few samples with one slow among them decide nothing")
  func undecided() throws {
    #expect(try verdict(calm(200, count: 99) + calm(30_000, count: 1)).grade == .undecided)
    let few = try verdict(calm(200, count: 5))
    #expect(few.grade == .undecided && few.reasons[0].hasPrefix("5 flushes"))
    #expect(FlushVerdict([], on: try disk()).grade == .undecided)
    #expect(FlushVerdict([control], on: try disk()).grade == .undecided, "a control is no flush")
  }

  @Test("What answers sooner than any medium is too fast to be true, and what the kernel claims is said beside it")
  func tooFast() throws {
    let back = try verdict(calm(2))
    #expect(back.grade == .tooFast)
    #expect(back.reasons[0].contains("2 µs") && back.reasons[0].contains("control"))
    #expect(back.reasons[1].contains("write back"))
    let through = try verdict(calm(2)) { $0.writeCache = "write through" }
    #expect(through.grade == .tooFast && through.reasons[1].contains("sends it no flushes"))
    let silent = try verdict(calm(2)) { $0.writeCache = nil }
    #expect(silent.reasons[1].contains("says nothing"))
    // O_DSYNC does write and flush in one: the write's own time does not count as waiting.
    let dsync = Synthetic.series(.file(bytes: 2300, method: .dsync), calm(17))
    #expect(FlushVerdict([control, dsync], on: try disk()).grade == .tooFast)
  }

  @Test("A flush that takes no longer than the write before it is not believed on a slow machine either")
  func besideTheControl() throws {
    let slowControl = Synthetic.series(.file(bytes: 2300, method: .none), calm(40))
    let flush = Synthetic.series(.file(bytes: 2300), calm(25))
    #expect(FlushVerdict([slowControl, flush], on: try disk()).grade == .tooFast)
    #expect(FlushVerdict([control, flush], on: try disk()).grade == .good)
  }

  @Test("A file system in memory, or one that does not flush, is not judged by its figures")
  func nothingDurable() throws {
    let memory = try verdict(calm(200)) { $0.fileSystem = "tmpfs" }
    #expect(
      memory.grade == .tooFast && memory.reasons == ["tmpfs keeps files in memory: nothing is written to any disk"])
    let off = try verdict(calm(200)) { $0.mountOptions = "rw,nobarrier" }
    #expect(off.grade == .tooFast && off.reasons[0].contains("nobarrier"))
  }

  @Test("Only plain files of the usual size decide: neither the log, nor other sizes, nor a growing file")
  func evidence() throws {
    let others = [
      Synthetic.series(.log(records: 1), calm(90_000)),
      Synthetic.series(.file(bytes: 65_536), calm(90_000)),
      Synthetic.series(.file(bytes: 2300, layout: .growing), calm(90_000)),
      Synthetic.series(.file(bytes: 2300, method: .dsync), calm(90_000)),
    ]
    #expect(try verdict(calm(200), with: others).grade == .good)
    #expect(FlushVerdict([others[2]], on: try disk()).grade == .bad, "it is judged where there is nothing else")
  }

  @Test("A machine that was not at rest is said not to have been")
  func disturbed() throws {
    var series = Synthetic.series(.file(bytes: 2300), calm(200))
    series.shareOfOthers = 0.64
    let disturbed = FlushVerdict([control, series], on: try disk())
    #expect(disturbed.grade == .good && disturbed.reasons.last?.contains("64 %") == true)
    series.shareOfOthers = 0.1
    #expect(FlushVerdict([control, series], on: try disk()).reasons.count == 1)
  }

  @Test("What the figures cannot tell is said: a virtual disk, no flushes sent, a network")
  func remarks() throws {
    let virtual = try verdict(calm(200)) { $0.isVirtual = true }
    #expect(virtual.grade == .good && virtual.reasons[1].contains("the host's cache mode"))
    #expect(try verdict(calm(200)) { $0.writeCache = "write through" }.reasons[1].contains("no flushes"))
    #expect(try verdict(calm(200)) { $0.fileSystem = "nfs4" }.reasons[1].contains("its server decides"))
  }
}
