-- Discounted revenue.
SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem, part
WHERE (p_partkey = l_partkey AND p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX') AND l_quantity >= 1
       AND l_quantity <= 31 AND p_size BETWEEN 1 AND 25 AND l_shipmode IN ('AIR', 'REG AIR'))
   OR (p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX') AND l_quantity >= 10
       AND l_quantity <= 40 AND p_size BETWEEN 1 AND 30 AND l_shipmode IN ('AIR', 'REG AIR'))
   OR (p_partkey = l_partkey AND p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX') AND l_quantity >= 20
       AND l_quantity <= 50 AND p_size BETWEEN 1 AND 35 AND l_shipinstruct = 'DELIVER IN PERSON')
