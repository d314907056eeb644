// The writer's own end: obeys orders from standard input until it is closed. Like most programs it does not look at the
// clock between deciding to write and writing.

import Dispatch
import Foundation
import Synchronization

package struct WriterProcess: Sendable {
  package let locks: any LockService
  package let resource: any Resource

  package init(locks: any LockService, resource: any Resource) {
    self.locks = locks
    self.resource = resource
  }

  /// Runs until standard input is closed.
  package func run() async {
    let output = Output()
    let (held, worker) = (HeldNow(), SetWorker())
    await withDiscardingTaskGroup { group in
      for await line in Self.lines() {
        guard let numbered = try? JSONDecoder().decode(NumberedOrder.self, from: line) else { continue }
        // Orders do not wait for each other: one that takes long must not hold the others up.
        group.addTask {
          let report = await self.obey(numbered.order, held, worker)
          output.write(NumberedReport(number: numbered.number, report: report))
        }
      }
    }
    await locks.close()
  }

  private func obey(_ order: WriterOrder, _ held: HeldNow, _ worker: SetWorker) async -> WriterReport {
    do {
      switch order {
      case .acquire(let order):
        var granted = try await locks.acquire(order)
        let now = DispatchTime.now().uptimeNanoseconds
        for place in granted.indices { granted[place].nanoseconds = now }
        held.set(granted.map(\.proof))
        return .granted(granted)
      case .send(let request):
        let proofs = request.otherProofs ?? (request.showsProof ? held.proofs : [])
        return .answered(await resource.send(request, proofs: proofs))
      case .untilLost:
        guard let loss = await locks.waitUntilLost() else { return .failed("nothing was acquired") }
        return .lost(loss)
      case .release:
        await locks.release()
        return .done
      case .work(let work): return .worked(await worker.run(work, locks, resource))
      case .stop:
        worker.stop()
        return .done
      case .isHolding: return .holding(worker.isHolding)
      }
    } catch {
      return .failed("\(error)")
    }
  }

  /// Read on a thread of its own, because reading blocks.
  private static func lines() -> AsyncStream<Data> {
    let (stream, continuation) = AsyncStream.makeStream(of: Data.self)
    Thread.detachNewThread {
      while let line = readLine() { continuation.yield(Data(line.utf8)) }
      continuation.finish()
    }
    return stream
  }

  /// The proofs of what was granted last. They are shown whatever has become of the grant since.
  private final class HeldNow: Sendable {
    private let value = Mutex<[String]>([])

    var proofs: [String] { value.withLock { $0.filter { !$0.isEmpty } } }
    func set(_ proofs: [String]) { value.withLock { $0 = proofs } }
  }

  /// Whole lines, whoever writes them.
  private final class Output: Sendable {
    private let lock = Mutex(())

    func write(_ report: NumberedReport) {
      guard var line = try? JSONEncoder().encode(report) else { return }
      line.append(UInt8(ascii: "\n"))
      lock.withLock { _ in try? FileHandle.standardOutput.write(contentsOf: line) }
    }
  }
}
