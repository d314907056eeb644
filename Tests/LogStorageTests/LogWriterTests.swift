import Glibc
import LogStorage
import RaftCore
import Synchronization
import Testing

@Suite("One thread writes, in groups")
struct LogWriterTests {
  /// What a writer reported, and a gate that can hold its thread inside a report.
  private final class Reports: Sendable {
    let groups = Mutex<[(sequence: UInt64, timing: FlushTiming)]>([])
    let failures = Mutex<[StorageError]>([])
    let isHeld = Mutex(false)

    func record(_ sequence: UInt64, _ timing: FlushTiming) {
      groups.withLock { $0.append((sequence, timing)) }
      isHeld.withLock { _ in }
    }
  }

  private func writer(on storage: LogStorage, _ reports: Reports) -> LogWriter {
    LogWriter(
      storage: storage, onPersisted: { reports.record($0, $1) },
      onFailure: { failure in reports.failures.withLock { $0.append(failure) } })
  }

  @Test("What is submitted while a flush is under way shares the next one")
  func groupCommit() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let reports = Reports()
    let writer = writer(on: storage, reports)
    reports.isHeld.withLock { _ in
      // The writer's thread can report the first group, and then waits for this lock.
      writer.submit(persist(1, term: 1))
      while reports.groups.withLock({ $0.isEmpty }) { sched_yield() }
      for index in 1...500 as ClosedRange<UInt64> {
        writer.submit(persist(index + 1, [entry(index)]))
      }
    }
    writer.stop()
    storage.close()
    let groups = reports.groups.withLock { $0 }
    #expect(groups.map(\.sequence) == [1, 501])
    #expect(groups.map(\.timing.persists) == [1, 500])
    #expect(groups.map(\.timing.entries) == [0, 500])
    for (_, timing) in groups {
      #expect(timing.beganNanoseconds <= timing.flushBeganNanoseconds)
      #expect(timing.flushBeganNanoseconds < timing.flushEndedNanoseconds)
    }
    #expect(try directory.reopened().lastIndex == Index(500))
  }

  @Test("Everything submitted from many threads is durable and reported in order once it has stopped")
  func stopDrains() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let reports = Reports()
    let writer = writer(on: storage, reports)
    writer.submit(persist(1, term: 1))
    for index in 1...3000 as ClosedRange<UInt64> { writer.submit(persist(index + 1, [entry(index)])) }
    writer.stop()
    writer.stop()
    let sequences = reports.groups.withLock { $0.map(\.sequence) }
    #expect(sequences.last == 3001)
    #expect(zip(sequences, sequences.dropFirst()).allSatisfy { $0 < $1 })
    #expect(reports.groups.withLock { $0.reduce(0) { $0 + $1.timing.persists } } == 3001)
    #expect(try storage.entries(after: Index(2999), through: Index(3000), maxBytes: 9) == [entry(3000)])
    storage.close()
  }

  @Test("A write error ends the writer: it is told once, and nothing is written or reported after it")
  func failure() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(mapBytes: 4 << 20, maximumMapBytes: 4 << 20, reserveBytes: 1 << 20)
    let storage = try directory.open(options).storage
    let reports = Reports()
    let writer = writer(on: storage, reports)
    writer.submit(persist(1, term: 1, entries(1...10)))
    while reports.groups.withLock({ $0.isEmpty }) { sched_yield() }
    writer.submit(persist(2, [entry(11, [UInt8](repeating: 7, count: 3 << 20))]))
    while reports.failures.withLock({ $0.isEmpty }) { sched_yield() }
    writer.submit(persist(3, [entry(12)]))
    writer.stop()
    storage.close()
    #expect(reports.groups.withLock { $0.map(\.sequence) } == [1])
    let failures = reports.failures.withLock { $0 }
    #expect(failures.count == 1)
    guard case .mapFull = failures.first else {
      Issue.record("failed with \(failures)")
      return
    }
    #expect(try directory.reopened(options).lastIndex == Index(10))
  }

  @Test("A failed write is never tried again: the same error meets every later one")
  func stickyFailure() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(mapBytes: 4 << 20, maximumMapBytes: 4 << 20, reserveBytes: 0)
    let storage = try directory.open(options).storage
    defer { storage.close() }
    try storage.write([persist(1, term: 1, entries(1...10))])
    let first = #expect(throws: StorageError.self) {
      try storage.write([persist(2, [entry(11, [UInt8](repeating: 7, count: 3 << 20))])])
    }
    let second = #expect(throws: StorageError.self) { try storage.write([persist(3, entries(11...11))]) }
    #expect(first == second)
    #expect(try storage.entries(after: Index(9), through: Index(99), maxBytes: 99).count == 1)
  }

  @Test("Groups beyond what one transaction holds are written in several")
  func hugeGroup() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    let reports = Reports()
    let writer = writer(on: storage, reports)
    reports.isHeld.withLock { _ in
      writer.submit(persist(1, term: 1))
      while reports.groups.withLock({ $0.isEmpty }) { sched_yield() }
      for index in 1...10 as ClosedRange<UInt64> {
        writer.submit(persist(index + 1, [entry(index, [UInt8](repeating: 1, count: 5 << 20))]))
      }
    }
    writer.stop()
    storage.close()
    #expect(reports.groups.withLock { $0.map(\.timing.persists) } == [1, 6, 4])
  }
}
