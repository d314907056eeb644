// Owns the way of an answer from a dedicated thread to the task that asked.
// Must never: lose an answer, or give it before it is whole.

import Synchronization

/// Asks, and waits for the answer, which `ask` must give once and may give from any thread.
///
/// The answer lies behind a mutex rather than in the continuation. ThreadSanitizer sees that handover and not the one
/// that goes through Swift's own runtime, so that a real race on an answer is not lost among false ones.
func answer<Answer: Sendable>(
  _ ask: (@escaping @Sendable (Answer) -> Void) -> Void
) async -> Answer {
  let place = Place<Answer>()
  await withCheckedContinuation { continuation in
    ask { answer in
      place.answer.withLock { $0 = answer }
      continuation.resume()
    }
  }
  guard let answer = place.answer.withLock({ $0 }) else { preconditionFailure("resumed without an answer") }
  return answer
}

private final class Place<Answer: Sendable>: Sendable {
  let answer = Mutex<Answer?>(nil)
}
