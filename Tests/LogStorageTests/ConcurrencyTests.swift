import Glibc
import LogStorage
import RaftCore
import Synchronization
import Testing

@Suite("Any thread reads while one writes")
struct ConcurrencyTests {
  /// What the threads of one test tell each other.
  private final class Shared: Sendable {
    let isDone = Atomic(false)
    let reads = Atomic(0)
    let errors = Mutex<[StorageError]>([])
    let torn = Mutex<[Int]>([])
  }

  @Test("Readers see whole batches only, while the log grows, is cut and the map is enlarged under them")
  func readersDuringWrites() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(mapBytes: 3 << 20, maximumMapBytes: 256 << 20, reserveBytes: 1 << 20)
    let storage = try directory.open(options).storage
    let shared = Shared()
    let readers = (0..<3).map { _ in
      TestThread {
        while !shared.isDone.load(ordering: .acquiring) {
          do throws(StorageError) {
            let read = try storage.entries(after: .beforeFirst, through: Index(.max), maxBytes: .max)
            // Every batch has 100 entries. A torn view would end elsewhere, or fall back in its terms.
            let isWhole = zip(read, read.dropFirst()).allSatisfy { $0.index.next == $1.index && $0.term <= $1.term }
            if read.count % 100 != 0 || !isWhole { shared.torn.withLock { $0.append(read.count) } }
            _ = try storage.statistics()
            shared.reads.add(1, ordering: .relaxed)
          } catch {
            shared.errors.withLock { $0.append(error) }
            return
          }
        }
      }
    }
    let outcome = Result { try writeBatches(to: storage, whileReadingWith: shared) }
    shared.isDone.store(true, ordering: .releasing)
    readers.forEach { $0.join() }
    try outcome.get()
    #expect(shared.errors.withLock { $0 } == [])
    #expect(shared.torn.withLock { $0 } == [])
    #expect(try storage.statistics().mapBytes > 3 << 20)
    storage.close()
    #expect(try directory.reopened(options).lastIndex == Index(1000))
  }

  private func writeBatches(to storage: LogStorage, whileReadingWith shared: Shared) throws {
    var sequence: UInt64 = 0
    for round in 1...4 as ClosedRange<UInt64> {
      for batch in 0..<10 as Range<UInt64> {
        sequence += 1
        let new = entries((batch * 100 + 1)...(batch * 100 + 100), term: round, payloadBytes: 3000)
        try storage.write([
          persist(sequence, term: round, removeFrom: batch == 0 && round > 1 ? 1 : nil, new)
        ])
      }
      // Each round goes on only when somebody has read in it.
      let before = shared.reads.load(ordering: .relaxed)
      while shared.reads.load(ordering: .relaxed) == before, shared.errors.withLock({ $0.isEmpty }) { sched_yield() }
    }
  }

  @Test("Closing waits for readers, who then get a refusal and never a crash")
  func closeUnderReaders() throws {
    let directory = TemporaryDirectory()
    let storage = try directory.open().storage
    try storage.write([persist(1, term: 1, entries(1...2000, payloadBytes: 500))])
    let shared = Shared()
    let readers = (0..<2).map { _ in
      TestThread {
        do throws(StorageError) {
          while true {
            _ = try storage.entries(after: .beforeFirst, through: Index(2000), maxBytes: .max)
            shared.reads.add(1, ordering: .relaxed)
          }
        } catch {
          shared.errors.withLock { $0.append(error) }
        }
      }
    }
    while shared.reads.load(ordering: .relaxed) < 4, shared.errors.withLock({ $0.isEmpty }) { sched_yield() }
    storage.close()
    readers.forEach { $0.join() }
    #expect(shared.errors.withLock { $0 } == [.closed, .closed])
  }
}
