// A lock of etcd's API that is made again: scenario 23 with the calls that no writer of the conformance command makes.

import Foundation
import Testing

@Suite("scenarios: what the core decides", .timeLimit(.minutes(2)))
struct CoreScenarios {
  @Test("a lock that is deleted and made again, by whatever way, has a higher number each time")
  func numbersRise() async throws {
    try await withCalls { calls in
      var numbers: [Int64] = []
      for round in 0..<20 {
        let lease = try await calls.lease(60)
        let locked = try await calls.lock("job", lease)
        numbers.append(locked.number)
        switch round % 4 {
        case 0: try await calls.unlock(locked.key)
        case 1: try await calls.revoke(lease)
        case 2: _ = try await calls.delete(String(decoding: locked.key, as: UTF8.self))
        default:
          // The key, and everything else that there ever was of it.
          try await calls.compact(try await calls.delete(String(decoding: locked.key, as: UTF8.self)))
        }
        let session = try await calls.open("round \(round)")
        let granted = try await calls.acquire(["lock:job-again"], session).granted.number
        #expect(granted > locked.number, "numbers of all scopes come from one order")
        try await calls.close(session)
      }
      #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count && numbers[0] > 0)
    }
  }

  private func withCalls(_ body: (DefectsCalls) async throws -> Void) async throws {
    let directory = try ScratchDirectory()
    let serving = try await Serving.start(directory("data"))
    try await withConnection(serving.core) { try await body(DefectsCalls(connection: $0)) }
    await serving.stop()
  }
}
