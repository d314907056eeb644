// Owns how weights are written: a map from names to numbers, in a file of YAML, of which JSON is a part, or on a command line
// as `put=20,get=70`.

import Foundation
import Yams

package enum WeightsFile {
  package struct Entry: Sendable, Equatable {
    package let name: String
    /// Above 0.
    package let weight: Double
  }

  /// The entries of a file, by name.
  /// - Parameter known: the names that there are.
  /// - Throws: `CommandFailure` with `ExitCode.usage` that says what was found and what is possible.
  package static func read(_ path: String, known: [String]) throws(CommandFailure) -> [Entry] {
    let example = "{\(known.map { "\($0): 1" }.joined(separator: ", "))}"
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw refusal(path, "it cannot be read: \(error.localizedDescription)", example)
    }
    let map = (try? Yams.load(yaml: text) as? [String: Any]) ?? [:]
    return try entries(of: map.mapValues { "\($0)" }, known: known, path, example)
  }

  /// The entries of `put=20,get=70`, by name. Throws as ``read(_:known:)`` does.
  package static func parse(_ text: String, known: [String]) throws(CommandFailure) -> [Entry] {
    let example = known.map { "\($0)=1" }.joined(separator: ",")
    var map: [String: String] = [:]
    for part in text.split(separator: ",") {
      let sides = part.split(separator: "=", maxSplits: 1).map(String.init)
      guard sides.count == 2, map.updateValue(sides[1], forKey: sides[0]) == nil else {
        throw refusal("--weights \(text)", "\"\(part)\" is no operation with its weight, or is there twice", example)
      }
    }
    return try entries(of: map, known: known, "--weights \(text)", example)
  }

  private static func entries(
    of map: [String: String], known: [String], _ place: String, _ example: String
  ) throws(CommandFailure) -> [Entry] {
    guard !map.isEmpty else { throw refusal(place, "it maps no operations to weights", example) }
    var entries: [Entry] = []
    for (name, value) in map.sorted(by: { $0.key < $1.key }) {
      guard known.contains(name) else {
        throw refusal(
          place, "\"\(name)\" is no operation here; \(known.joined(separator: ", ")) are", example)
      }
      guard let weight = Double(value), weight.isFinite, weight > 0 else {
        throw refusal(place, "the weight of \(name) is \"\(value)\", and has to be a number above 0", example)
      }
      entries.append(Entry(name: name, weight: weight))
    }
    return entries
  }

  private static func refusal(_ place: String, _ why: String, _ example: String) -> CommandFailure {
    CommandFailure(ExitCode.usage, "\(place): \(why). Write it like \(example).")
  }
}
