// Owns how weights are written: a map from names to numbers, in YAML, of which JSON is a part.

import Foundation
import Yams

package enum WeightsFile {
  package struct Entry: Sendable, Equatable {
    package let name: String
    /// Above 0.
    package let weight: Double
  }

  /// The entries by name.
  /// - Parameter known: the names that there are.
  /// - Throws: `CommandFailure` with `ExitCode.usage` that says what was found and what is possible.
  package static func read(_ path: String, known: [String]) throws(CommandFailure) -> [Entry] {
    func refusal(_ why: String) -> CommandFailure {
      let example = known.map { "\($0): 1" }.joined(separator: ", ")
      return CommandFailure(ExitCode.usage, "\(path): \(why). Write it like {\(example)}.")
    }
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw refusal("it cannot be read: \(error.localizedDescription)")
    }
    guard let map = try? Yams.load(yaml: text) as? [String: Any], !map.isEmpty else {
      throw refusal("it maps no operations to weights")
    }
    var entries: [Entry] = []
    for (name, value) in map.sorted(by: { $0.key < $1.key }) {
      guard known.contains(name) else {
        throw refusal("\"\(name)\" is no operation here; \(known.joined(separator: ", ")) are")
      }
      guard let weight = (value as? Double) ?? (value as? Int).map(Double.init), weight.isFinite, weight > 0 else {
        throw refusal("the weight of \(name) is \"\(value)\", and has to be a number above 0")
      }
      entries.append(Entry(name: name, weight: weight))
    }
    return entries
  }
}
