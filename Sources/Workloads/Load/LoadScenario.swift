// Owns what a scenario adds to the load that all have in common: what must be there before, its driver, what is checked and
// cleared away afterwards.

import Measurement
import NIOCore
import Wire

/// Where a driver works.
struct LoopPlace {
  let index: Int
  let count: Int
  let eventLoop: any EventLoop
  let lanes: Int
  let share: LoadShare
  /// How many clients the loops before this one have.
  let firstClient: Int
  let frame: LoadFrame
}

protocol LoadScenario: Sendable {
  associatedtype Driver: LoadDriver
  associatedtype Prepared: Sendable
  typealias Connection = Driver.Connection

  var plan: LoadPlan { get }
  /// Whom the load is for. A target that does not know the question is measured anyway.
  func describe(over connection: Connection) async -> TargetDescription
  /// What must be at the target before the load.
  func prepare(over connections: [Connection]) async throws(WorkloadError) -> Prepared
  func driver(at place: LoopPlace, _ prepared: Prepared) -> Driver
  /// Looks at what the load has left, and takes away what the preparation made. Errors are of no consequence, wrong answers go
  /// into the figures.
  func finish(_ prepared: Prepared, over connections: [Connection], _ measured: inout LoadFigures) async
}

/// Does so many things, at most so many at once.
func inParallel<Value: Sendable>(
  _ count: Int, atOnce limit: Int, _ body: @escaping @Sendable (Int) async throws(WorkloadError) -> Value
) async throws(WorkloadError) -> [Value] {
  typealias Ended = (Int, Result<Value, WorkloadError>)
  let result: Result<[Value], WorkloadError> = await withTaskGroup(of: Ended.self) { group in
    var values = [Value?](repeating: nil, count: count)
    var failure: WorkloadError?
    func take(_ next: Ended) {
      switch next.1 {
      case .success(let value): values[next.0] = value
      case .failure(let error): failure = failure ?? error
      }
    }
    for number in 0..<count {
      if number >= limit, let next = await group.next() { take(next) }
      if failure != nil { break }
      group.addTask {
        do throws(WorkloadError) {
          return (number, .success(try await body(number)))
        } catch {
          return (number, .failure(error))
        }
      }
    }
    while let next = await group.next() { take(next) }
    return failure.map { .failure($0) } ?? .success(values.compactMap { $0 })
  }
  return try result.get()
}
